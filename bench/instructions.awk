# Reads a profile of callgrind (strings and positions not compressed) and prints what one hit costs:
# all instructions, those that copy or zero memory, those of the connection's dispatcher, and the
# project's own files that a hit passes. What runs beside the requests, such as timers, is in the first
# number: on a busy machine, where the hits take longer, it grows. The dispatcher's does not.

function rounded(n) { return sprintf("%d", n / hits + 0.5) }

/^f[lie]=/ {
  file = substr($0, 4)
  # Where a file of the project starts; the packages and the compiler lie elsewhere.
  at = file ~ /registry|rustc|rust\/deps|sysdeps/ ? 0 : match(file, /(^|\/)src\//)
  own = at && file ~ /\.rs$/ ? substr(file, at + RLENGTH) : ""
  next
}
/^fn=/ {
  moves = $0 ~ /mem(cpy|move|set)/
  serves = $0 ~ /h1::dispatcher::Dispatcher<.*Future>::poll$/
  next
}
# The next line is what the called function costs; but for the dispatcher that is counted there.
/^calls=/ {
  getline
  if (serves) served += $2
  next
}
/^[0-9]+ [0-9]+$/ {
  total += $2
  if (serves) served += $2
  if (moves) moved += $2
  if (own != "") cost[own] += $2
}

END {
  printf "%s: %d instructions a hit, %d of them copy or zero memory, %d do not\n",
    name, rounded(total), rounded(moved), rounded(total - moved)
  printf "  of the connection's dispatcher: %d, %d without copying and zeroing\n",
    rounded(served), rounded(served - moved)
  # What costs less belongs to something else that runs meanwhile, such as a timer.
  least = 8 * hits
  for (file in cost) if (cost[file] >= least) files++
  if (!files || name == "bare") exit
  printf "  own files that a hit passes: %d (instructions of each, calls left out)\n", files
  sort = "sort -k1,1nr"
  for (file in cost) if (cost[file] >= least) printf "  %7d  %s\n", rounded(cost[file]), file | sort
  close(sort)
}
