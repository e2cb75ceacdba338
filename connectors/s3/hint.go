package s3

// Hint returns the version token of what an event calls versionId; "" where
// only a look can tell: objects without one are known by more than an event says.
func Hint(versionID string) string {
	if versionID == "" || versionID == nullID {
		return ""
	}
	return version{id: versionID}.String()
}
