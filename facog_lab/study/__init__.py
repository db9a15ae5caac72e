"""Many runs: the paper's grid, results, statistics, sweeps."""
