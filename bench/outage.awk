# From lines "round server phase good/s asked good stale p50 p99 calls most waiting slowest" to a
# table. Times come in microseconds. A ratio is taken to the same server's normal phase of the same
# round; with several rounds every figure is the median, but the most calls in a second are the most.

{
  if (!($2 in seen_server)) { seen_server[$2] = 1; servers[++server_count] = $2 }
  if (!($3 in seen_phase)) { seen_phase[$3] = 1; phases[++phase_count] = $3 }
  if ($1 > rounds) rounds = $1
  key = $2 SUBSEP $3
  for (field = 4; field <= 13; field++) figure[key, field, $1] = $field
  if ($11 > most[key]) most[key] = $11
}

function middle(key, field,    round, values, ordered) {
  for (round = 1; round <= rounds; round++) values[round] = figure[key, field, round] + 0
  sorted(values, rounds, ordered)
  return median(ordered, rounds)
}

function to_normal(server, key,    round, values, ordered, normal) {
  for (round = 1; round <= rounds; round++) {
    normal = figure[server SUBSEP "normal", 4, round] + 0
    values[round] = normal ? figure[key, 4, round] / normal : 0
  }
  sorted(values, rounds, ordered)
  return median(ordered, rounds)
}

function share(key, field,    asked) {
  asked = middle(key, 5)
  return asked ? 100 * middle(key, field) / asked : 0
}

END {
  printf "%-10s %-14s %8s %9s %8s %8s %9s %9s %9s %8s %8s %9s\n", "upstream", "server", "good/s", \
    "to normal", "good %", "marked %", "p50 ms", "p99 ms", "calls", "most/s", "waiting", "slowest s"
  for (p = 1; p <= phase_count; p++) {
    for (s = 1; s <= server_count; s++) {
      key = servers[s] SUBSEP phases[p]
      # Rounded down: 100 means all.
      printf "%-10s %-14s %8.0f %9.2f %8s %8s %9.2f %9.2f %9.0f %8d %8.0f %9.0f\n", \
        phases[p], servers[s], middle(key, 4), to_normal(servers[s], key), \
        floored(share(key, 6)), floored(share(key, 7)), middle(key, 8) / 1000, middle(key, 9) / 1000, \
        middle(key, 10), most[key], middle(key, 12), middle(key, 13)
    }
  }
  print ""
  print "good: status 200 with a result in it, of everything asked; marked: the answer says it is stale;"
  print "calls: at the upstream, in all and in the worst second; waiting: without an answer at the end;"
  print "slowest s: answers in the slowest second. Throttles come with status 200, as the upstream sends"
  print "them: a proxy that does not read bodies takes them for answers."
}

function floored(value) { return sprintf("%.2f", int(value * 100) / 100) }
