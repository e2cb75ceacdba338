package mdcore

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strconv"
	"strings"
)

// names are the words for scan_all_result_i, as the product's documentation
// lists them.
var names = map[int]string{
	0: "No Threat Detected", 1: "Infected", 2: "Suspicious", 3: "Failed", 4: "Cleaned / Deleted", 5: "Unknown", 6: "Quarantined",
	7: "Whitelisted", 8: "Blacklisted", 9: "Exceeded Archive Depth", 10: "Not Scanned", 11: "Aborted", 12: "Encrypted Archive",
	13: "Exceeded Archive Size", 14: "Exceeded Archive File Number", 15: "Password Protected Document", 16: "Exceeded Archive Timeout",
	17: "Mismatch", 18: "Potentially Vulnerable File", 19: "Cancelled", 20: "Sensitive Data Found", 21: "Yara Rule Matched",
	22: "Potentially Unwanted", 23: "Unsupported File Type", 24: "Extraction Failed", 255: "In Progress",
}

func said(code int) string {
	if s, ok := names[code]; ok {
		return s
	}
	return "Result " + strconv.Itoa(code)
}

// report is GET /file/{data_id} at this moment.
func (j *job) report(nested bool, first, size int) map[string]any {
	progress, code, result := j.progress(), j.code, "Allowed"
	reasons := []string{}
	switch {
	case j.cancelled:
		code = 19
	case progress < 100:
		code, result = 255, "Processing"
	}
	switch {
	case progress == 100 && j.blocked != "":
		result, reasons = "Blocked", []string{j.blocked}
	case progress == 100 && code != 0 && code != 7:
		result, reasons = "Blocked", []string{said(code)}
	}
	process := map[string]any{
		"progress_percentage": progress, "result": result, "blocked_reason": strings.Join(reasons, " | "), "blocked_reasons": reasons,
		"verdicts": []string{said(code)}, "profile": j.profile, "user_agent": j.userAgent, "username": "LOCAL/admin",
		"file_type_skipped_scan": false, "queue_time": 1, "processing_time": 12, "hash_time": 1,
		"processing_time_details": map[string]int{"av_scan_time": 8, "others_time": 4},
	}
	if j.outdated {
		process["outdated_data"] = []string{"enginedefinitions"}
	}
	if progress == 100 {
		process["post_processing"] = j.post()
	}
	out := map[string]any{
		"data_id":      j.id,
		"file_info":    j.fileInfo(),
		"process_info": process,
		"scan_results": j.scanResults(code, progress),
	}
	if progress < 100 {
		return out
	}
	if j.dlp > 0 {
		hits := make([]map[string]any, j.dlp)
		for i := range hits {
			hits[i] = map[string]any{"before": "card ", "hit": "XXXX", "after": ".", "certainty": "High", "certainty_score": 90, "isRedacted": false, "severity": 0}
		}
		out["dlp_info"] = map[string]any{"verdict": 1, "certainty": "High", "errors": map[string]any{}, "filename": j.name,
			"hits": map[string]any{"ccn": map[string]any{"display_name": "Credit Card Number", "hits": hits}}}
	}
	if j.vuln > 0 {
		list := make([]map[string]any, j.vuln)
		for i := range list {
			list[i] = map[string]any{"description": "a flaw", "severity": "IMPORTANT", "severity_index": 4, "static_id": i}
		}
		out["vulnerability_info"] = map[string]any{"verdict": 1, "result": map[string]any{"code": 0, "method": 50700, "timestamp": "1587", "timing": 3,
			"detected_product": map[string]any{"has_vulnerability": true, "is_current": false, "vulnerabilites": list}}}
	}
	if j.extracted {
		out["extraction_info"] = map[string]any{"is_encrypted_file": j.encrypted}
		out["extracted_files"] = j.members(nested, first, size)
	}
	return out
}

func (j *job) fileInfo() map[string]any {
	kind := "application/octet-stream"
	if j.extracted {
		kind = "application/zip"
	}
	return map[string]any{"display_name": j.name, "file_size": j.size, "file_type": kind, "file_type_description": path.Ext(j.name),
		"md5": j.md5, "sha1": j.sha1, "sha256": j.sha256, "upload_timestamp": stamp(j.submitted),
		"receive_data_timestamp": stamp(j.submitted), "upload_time": 2, "type_category": []string{"O"}}
}

func (j *job) scanResults(code, progress int) map[string]any {
	details := map[string]any{}
	if progress == 100 && !j.cancelled {
		for _, e := range j.engines {
			details[e.Name] = map[string]any{"scan_result_i": e.code, "threat_found": e.threat, "scan_time": 3, "wait_time": 0,
				"def_time": stamp(e.Defined), "eng_id": e.ID, "location": "local"}
		}
	}
	return map[string]any{"data_id": j.id, "progress_percentage": progress, "scan_all_result_i": code, "scan_all_result_a": said(code),
		"start_time": stamp(j.submitted), "total_time": 9, "total_avs": len(j.engines), "scan_details": details}
}

func (j *job) post() map[string]any {
	post := map[string]any{"actions_ran": "", "actions_failed": "", "converted_destination": "", "converted_to": "", "copy_move_destination": ""}
	if j.copy == nil {
		return post
	}
	sum := sha256.Sum256(j.copy)
	ext := path.Ext(j.name)
	post["actions_ran"], post["converted_to"] = "Sanitized", strings.TrimPrefix(ext, ".")
	if j.partial {
		post["actions_ran"] = "Sanitized Partially | PAscript"
	}
	post["converted_destination"] = strings.TrimSuffix(j.name, ext) + "_sanitized_by_OPSWAT_MetaDefender_" + j.id + ext
	post["sanitization_details"] = map[string]any{"description": "Sanitized successfully.",
		"details":             []map[string]any{{"action": "removed", "object_name": "macro", "count": 1}},
		"sanitized_file_info": map[string]any{"file_size": len(j.copy), "sha256": hex.EncodeToString(sum[:])}}
	return post
}

// members are a page of the list form, or all of them in the nested form.
func (j *job) members(nested bool, first, size int) any {
	if nested {
		out := []map[string]any{}
		for _, c := range j.children {
			out = append(out, c.report(true, 0, 0))
		}
		return out
	}
	all := j.flat()
	list, worst := []map[string]any{}, ""
	for i, c := range all {
		if c.code != 0 && worst == "" {
			worst = c.id
		}
		if i < first || i >= first+size {
			continue
		}
		detected, result, reason := 0, "Allowed", ""
		for _, e := range c.engines {
			if e.code == 1 || e.code == 2 {
				detected++
			}
		}
		if c.code != 0 {
			result, reason = "Blocked", said(c.code)
		}
		list = append(list, map[string]any{"data_id": c.id, "display_name": c.name, "file_size": c.size,
			"file_type": "application/octet-stream", "file_type_description": "data", "detected_by": detected,
			"scanned_with": len(c.engines), "progress_percentage": 100, "scan_all_result_i": c.code, "scan_all_result_a": said(c.code),
			"process_info": map[string]any{"blocked_reason": reason, "progress_percentage": 100, "result": result}})
	}
	return map[string]any{"files_extracted_count": len(all), "first_index": first, "page_size": size,
		"worst_data_id": worst, "files_in_archive": list}
}

// flat lists members at all depths.
func (j *job) flat() []*job {
	var out []*job
	for _, c := range j.children {
		out = append(append(out, c), c.flat()...)
	}
	return out
}
