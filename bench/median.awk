# Medians, for the reports of the benches.

function sorted(values, count, out,    i, j, held) {
  for (i = 1; i <= count; i++) out[i] = values[i]
  for (i = 2; i <= count; i++) {
    held = out[i]
    for (j = i - 1; j >= 1 && out[j] > held; j--) out[j + 1] = out[j]
    out[j + 1] = held
  }
}

function median(ordered, count) {
  if (count % 2) return ordered[(count + 1) / 2]
  return (ordered[count / 2] + ordered[count / 2 + 1]) / 2
}
