package bench

const nodeDSN = "LANDWAITER_BENCH_NODE"

func node() int { return 0 }
