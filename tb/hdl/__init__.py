"""Block tests on Amaranth's simulator; a package, so that its file names may recur in the other suites."""
