package mdcore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// What a reply may consist of, beside its size. Replies are written by strangers.
const (
	maxDepth  = 64
	maxKeys   = 4096    // of one object
	maxTokens = 1 << 20 // of a reply
)

// decode reads one JSON value strictly: nothing after it, no key twice (also
// not in another case, which encoding/json takes for the same), bounded depth
// and number of parts. What a reply could mean in two ways it does not mean.
func decode(b []byte, v any) error {
	if err := check(b); err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

func check(b []byte) error {
	type frame struct {
		keys map[string]bool // nil in an array
		key  bool            // a key comes next
	}
	var stack []frame
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	for n := 0; ; n++ {
		tok, err := dec.Token()
		if err == io.EOF && n > 0 && len(stack) == 0 {
			return nil
		}
		if err != nil {
			return noEOF(err)
		}
		if n > 0 && len(stack) == 0 {
			return errors.New("there is more than one value")
		}
		if n > maxTokens {
			return errors.New("there are too many parts")
		}
		var top *frame
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
		}
		if s, ok := tok.(string); ok && top != nil && top.keys != nil && top.key {
			s = fold(s)
			if top.keys[s] {
				return fmt.Errorf("the key %q comes twice", s)
			}
			if len(top.keys) >= maxKeys {
				return errors.New("an object has too many keys")
			}
			top.keys[s], top.key = true, false
			continue
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, frame{keys: map[string]bool{}, key: true})
		case json.Delim('['):
			stack = append(stack, frame{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
			if len(stack) > 0 {
				stack[len(stack)-1].key = true
			}
		default:
			if top != nil {
				top.key = true
			}
		}
		if len(stack) > maxDepth {
			return errors.New("it is too deep")
		}
	}
}

// noEOF keeps an end that came too early from looking like a proper one.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fold is the form in which encoding/json compares keys.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next // the smallest of those that fold together
			}
			r = next
		}
	}, s)
}

// A number is an integer, which some versions write as a string, or absent.
type number struct {
	n   int64
	set bool
}

func (x *number) UnmarshalJSON(b []byte) error {
	s := string(b)
	if s == "null" {
		return nil
	}
	if s[0] == '"' {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != s {
		return fmt.Errorf("%.40q is no integer", s)
	}
	*x = number{n, true}
	return nil
}

// A list of words is written as an array, or as a string with | between them.
type list []string

func (x *list) UnmarshalJSON(b []byte) error {
	if b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(x))
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	for w := range strings.SplitSeq(s, "|") {
		if w = strings.TrimSpace(w); w != "" {
			*x = append(*x, w)
		}
	}
	return nil
}

// A state is a health check's result: true, "true" or "ok", or what else it says.
type state struct {
	ok   bool
	said string
}

func (x *state) UnmarshalJSON(b []byte) error {
	s := strings.ToLower(strings.Trim(string(b), `"`))
	if s == "null" {
		return nil
	}
	if s == "" || b[0] == '{' || b[0] == '[' {
		return errors.New("a status is neither a word nor a boolean")
	}
	*x = state{s == "true" || s == "ok", s}
	return nil
}

// report is GET /file/{data_id} and GET /hash/{hash}, as far as it matters.
type report struct {
	DataID    string       `json:"data_id"`
	File      *fileInfo    `json:"file_info"`
	Process   *processInfo `json:"process_info"`
	Scan      *scanResults `json:"scan_results"`
	Extracted children     `json:"extracted_files"`
	DLP       *dlpInfo     `json:"dlp_info"`
	Vuln      *vulnInfo    `json:"vulnerability_info"`
	Yara      *yaraInfo    `json:"yara"`
}

type fileInfo struct {
	Name   string `json:"display_name"`
	Size   number `json:"file_size"`
	SHA256 string `json:"sha256"`
}

type processInfo struct {
	Progress number          `json:"progress_percentage"`
	Result   string          `json:"result"` // Allowed, Blocked, Processing
	Reason   string          `json:"blocked_reason"`
	Reasons  []string        `json:"blocked_reasons"`
	Profile  string          `json:"profile"` // the rule's name
	Outdated list            `json:"outdated_data"`
	Post     *postProcessing `json:"post_processing"`
}

type postProcessing struct {
	Ran       list            `json:"actions_ran"`
	Failed    list            `json:"actions_failed"`
	Converted string          `json:"converted_destination"` // name of the sanitised copy
	Details   json.RawMessage `json:"sanitization_details"`  // an object, or a sentence
	File      *sanitizedFile  `json:"sanitized_file_info"`
}

type sanitizedFile struct {
	Size   number `json:"file_size"`
	SHA256 string `json:"sha256"`
}

type scanResults struct {
	DataID   string                  `json:"data_id"`
	Progress number                  `json:"progress_percentage"`
	Code     number                  `json:"scan_all_result_i"`
	Said     string                  `json:"scan_all_result_a"`
	Engines  number                  `json:"total_avs"`
	Details  map[string]engineResult `json:"scan_details"`
}

type engineResult struct {
	Code    number `json:"scan_result_i"`
	Threat  string `json:"threat_found"`
	Defined string `json:"def_time"`
}

// children are an archive's members: a page of a list or, in the newer form,
// an array of whole reports.
type children struct {
	Count number
	First number
	Files []child
}

func (x *children) UnmarshalJSON(b []byte) error {
	if b[0] == '[' {
		return json.Unmarshal(b, &x.Files)
	}
	var page struct {
		Count number  `json:"files_extracted_count"`
		First number  `json:"first_index"`
		Files []child `json:"files_in_archive"`
	}
	if err := json.Unmarshal(b, &page); err != nil {
		return err
	}
	*x = children(page)
	return nil
}

// child is a member in either form.
type child struct {
	DataID   string `json:"data_id"`
	Name     string `json:"display_name"`
	Size     number `json:"file_size"`
	Detected number `json:"detected_by"`
	Engines  number `json:"scanned_with"`
	Progress number `json:"progress_percentage"`
	Code     number `json:"scan_all_result_i"`

	File      *fileInfo    `json:"file_info"`
	Process   *processInfo `json:"process_info"`
	Scan      *scanResults `json:"scan_results"`
	Extracted children     `json:"extracted_files"`
}

type dlpInfo struct {
	Verdict number          `json:"verdict"` // 0 clean, 1 found, 2 suspicious, 3 failed, 4 not scanned
	Hits    json.RawMessage `json:"hits"`
}

type vulnInfo struct {
	Verdict number `json:"verdict"` // 0 none, 1 found
	Result  *struct {
		Product *struct {
			Has  bool              `json:"has_vulnerability"`
			List []json.RawMessage `json:"vulnerabilites"` // so spelt
		} `json:"detected_product"`
		List []json.RawMessage `json:"vulnerabilites"`
	} `json:"result"`
}

type yaraInfo struct {
	Hits json.RawMessage `json:"hits"`
}

// notFound reports whether b is {"<id>":"Not Found"}, which comes with 200 or 404.
func notFound(b []byte, id string) bool {
	if len(b) > 1024 {
		return false
	}
	var m map[string]string
	if decode(b, &m) != nil || len(m) != 1 {
		return false
	}
	for k, v := range m {
		return strings.EqualFold(k, id) && strings.EqualFold(v, "Not Found")
	}
	return false
}

// validID reports whether s can be a data_id: it goes into paths.
func validID(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_')
	})
}
