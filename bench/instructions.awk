# Reads a profile of callgrind (strings and positions not compressed) and prints what one hit costs:
# all instructions, those that copy or zero memory, and the project's own files that a hit passes.

function rounded(n) { return sprintf("%d", n / hits + 0.5) }

/^f[lie]=/ { file = substr($0, 4); next }
/^fn=/ { moves = $0 ~ /mem(cpy|move|set)/; next }
# The next line is what the called function costs; that is counted there.
/^calls=/ { getline; next }
/^[0-9]+ [0-9]+$/ {
  total += $2
  if (moves) moved += $2
  if (index(file, own) == 1) cost[substr(file, length(own) + 1)] += $2
  else if (index(file, "src/") == 1) cost[substr(file, 5)] += $2
}

END {
  printf "%s: %d instructions a hit, %d of them copy or zero memory, %d do not\n",
    name, rounded(total), rounded(moved), rounded(total - moved)
  # What runs less than once a hit belongs to something else, such as a timer.
  for (file in cost) if (cost[file] >= hits) files++
  if (!files) exit
  printf "  own files that a hit passes: %d (instructions of each, calls left out)\n", files
  sort = "sort -k1,1nr"
  for (file in cost) if (cost[file] >= hits) printf "  %7d  %s\n", rounded(cost[file]), file | sort
  close(sort)
}
