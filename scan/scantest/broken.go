package scantest

import (
	"bytes"
	"math/rand/v2"
)

// Broken returns n replies made from good ones by what networks, crashes and
// strangers do to them: cut off, changed by a byte or a bit, doubled, run
// together, put after or before rubbish. The same seed gives the same ones.
// Some may still be good, by the protocol's grammar: the caller knows that.
func Broken(good [][]byte, n int, seed uint64) [][]byte {
	rnd := rand.New(rand.NewPCG(seed, seed))
	out := make([][]byte, 0, n)
	for len(out) < n {
		b := bytes.Clone(good[rnd.IntN(len(good))])
		for range 1 + rnd.IntN(2) {
			b = breakOnce(rnd, b, good)
		}
		out = append(out, b)
	}
	return out
}

func breakOnce(rnd *rand.Rand, b []byte, good [][]byte) []byte {
	at := rnd.IntN(len(b) + 1)
	rubbish := func() []byte {
		r := make([]byte, 1+rnd.IntN(40))
		for i := range r {
			r[i] = byte(rnd.Uint32())
		}
		return r
	}
	switch rnd.IntN(9) {
	case 0:
		return b[:at]
	case 1:
		return b[at:]
	case 2:
		if at < len(b) {
			b[at] ^= 1 << rnd.IntN(8)
		}
	case 3:
		if at < len(b) {
			b[at] = byte(rnd.Uint32())
		}
	case 4:
		return append(b, b...)
	case 5:
		return append(b, good[rnd.IntN(len(good))]...)
	case 6:
		return append(rubbish(), b...)
	case 7:
		return append(b[:at:at], append(rubbish(), b[at:]...)...)
	case 8:
		return bytes.Repeat(b, 300)
	}
	return b
}
