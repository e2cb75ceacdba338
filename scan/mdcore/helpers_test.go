package mdcore_test

import (
	"encoding/hex"
	"strconv"
)

func itoa(n int) string { return strconv.Itoa(n) }

func hexOf(b []byte) string { return hex.EncodeToString(b) }
