# JSON on stdin as lines PATH=VALUE, objects' keys and arrays' positions joined by "/"; empty and null values too.
{ text = text $0 " " }
END { at = 1; value("") }

function space() { while (substr(text, at, 1) ~ /[ \t\r]/) at++ }

function string(   out, c) {
  at++
  while (match(substr(text, at, 512), /^[^"\\]+/) > 0 || substr(text, at, 1) == "\\") {
    if (substr(text, at, 1) == "\\") {
      c = substr(text, at + 1, 1)
      if (c == "u") { out = out "?"; at += 6; continue }
      out = out (c == "n" || c == "r" || c == "t" ? " " : c)
      at += 2
    } else { out = out substr(text, at, RLENGTH); at += RLENGTH }
  }
  at++
  return out
}

function value(path,   c, n, key) {
  space()
  c = substr(text, at, 1)
  if (c == "{" || c == "[") {
    at++
    n = 0
    space()
    while (at <= length(text) && index("]}", substr(text, at, 1)) == 0) {
      if (c == "{") { key = string(); space(); at++ } else key = n++
      value(path == "" ? key : path "/" key)
      space()
      if (substr(text, at, 1) == ",") at++
      space()
    }
    at++
  } else if (c == "\"") print path "=" string()
  else {
    if (!match(substr(text, at, 64), /^[-+.a-zA-Z0-9]+/)) exit 1   # not JSON
    print path "=" (substr(text, at, RLENGTH) == "null" ? "" : substr(text, at, RLENGTH))
    at += RLENGTH
  }
}
