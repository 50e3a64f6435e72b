"""The command line: parse, call one function of the public API, print."""
