"""The promises, proven: processes killed, databases stopped, callers raced, and histories checked afterwards.

One module a promise, named for it. Each proof runs in a short form every day and in a long one behind the marker
`long`, says its figures in one line (`figure`), and has a negative control beside it: a deliberately broken variant
that the same check catches.
"""
