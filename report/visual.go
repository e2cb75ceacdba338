package report

import (
	"slices"
	"unicode"
)

// rightToLeft are the scripts of that direction that the font has.
var rightToLeft = []*unicode.RangeTable{unicode.Hebrew, unicode.Arabic, unicode.Nko}

// visual is a line in the order that it is drawn in: what is written from right
// to left, words with the spaces between them, is turned around. Everything else
// keeps its place, so that no name can reorder what stands beside it; letters
// are not joined.
func visual(line string) string {
	if !containsRTL(line) {
		return line
	}
	letters := []rune(line)
	for i := 0; i < len(letters); i++ {
		if !unicode.In(letters[i], rightToLeft...) {
			continue
		}
		end := i + 1 // after the last letter of the run
		for j := end; j < len(letters); j++ {
			switch r := letters[j]; {
			case unicode.In(r, rightToLeft...), unicode.Is(unicode.Mn, r) && end == j:
				end = j + 1
			case r == ' ':
				continue
			default:
				j = len(letters)
			}
		}
		turn(letters[i:end])
		i = end - 1
	}
	return string(letters)
}

func containsRTL(line string) bool {
	for _, r := range line {
		if r >= 0x590 && unicode.In(r, rightToLeft...) {
			return true
		}
	}
	return false
}

// turn reverses letters; marks stay behind what they stand on.
func turn(letters []rune) {
	slices.Reverse(letters)
	for i := 0; i < len(letters); i++ {
		marks := i
		for marks < len(letters) && unicode.Is(unicode.Mn, letters[marks]) {
			marks++
		}
		if marks > i && marks < len(letters) {
			slices.Reverse(letters[i : marks+1])
			i = marks
		}
	}
}
