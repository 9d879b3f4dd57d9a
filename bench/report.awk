# From lines "round server requests/s p99 nanoseconds" to a table of medians and spreads. A ratio is taken
# within its round, so that what slows a whole round down cancels out.

{
  rate[$2, $1] = $3
  p99[$2, $1] = $4
  cpu[$2, $1] = $5 / 1000
  if (!($2 in known)) { known[$2] = 1; order[++servers] = $2 }
  if ($1 > rounds) rounds = $1
}

END {
  split("bare gateway gateway-b nginx varnish", wanted, " ")
  printf "%-10s %12s %19s %10s %15s %10s %12s\n", \
    "server", "requests/s", "least - most", "to bare", "least - most", "p99", "CPU/request"
  for (w = 1; w <= 5; w++) {
    name = wanted[w]
    if (!(name in known)) continue
    for (r = 1; r <= rounds; r++) {
      rates[r] = rate[name, r] + 0
      costs[r] = cpu[name, r]
      ratios[r] = rate[name, r] / rate["bare", r]
    }
    sorted(rates, rounds, by_rate)
    sorted(ratios, rounds, by_ratio)
    sorted(costs, rounds, by_cost)
    printf "%-10s %12.0f %9.0f - %7.0f %10.2f %8.2f - %4.2f %10s %9.1f us\n", name, \
      median(by_rate, rounds), by_rate[1], by_rate[rounds], \
      median(by_ratio, rounds), by_ratio[1], by_ratio[rounds], p99[name, rounds], \
      median(by_cost, rounds)
  }
  print ""
  print "requests/s by round:"
  for (w = 1; w <= 5; w++) {
    name = wanted[w]
    if (!(name in known)) continue
    line = sprintf("%-10s", name)
    for (r = 1; r <= rounds; r++) line = line sprintf(" %8.0f (%.2f)", rate[name, r], rate[name, r] / rate["bare", r])
    print line
  }
}
