"""The command line: arguments in, calls of the package out."""
