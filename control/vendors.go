package control

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/landwaiter/landwaiter/fault"
)

// A Vendor is a sort of storage, with MetaDefender's number for it.
type Vendor struct {
	Number   int
	Name     string
	Protocol int // the way to it, which several vendors share

	secrets []string // of its credentials: never given back
	base    func(cred fields) (place, error)
	in      func(base place, source fields) (place, error)
}

// The vendors' numbers. LocalFolder is ours: the product has no such storage.
const (
	AmazonS3      = 0
	OneDrive      = 1
	Box           = 2
	DellIsilon    = 3
	AzureFiles    = 4
	SMBCompatible = 5
	S3Compatible  = 6
	AzureBlob     = 7
	AlibabaCloud  = 8
	GoogleCloud   = 9
	LocalFolder   = 100
)

// The protocols' numbers, which the product does not publish.
const (
	ProtocolAmazonSDK   = 0
	ProtocolGraph       = 1
	ProtocolBox         = 2
	ProtocolSMB         = 3
	ProtocolAzureFiles  = 4
	ProtocolAzureBlob   = 5
	ProtocolAlibaba     = 6
	ProtocolGoogleCloud = 7
	ProtocolLocal       = 100
)

// Vendors lists the vendors, those without a connector too.
func Vendors() []Vendor {
	return []Vendor{
		{AmazonS3, "AmazonS3", ProtocolAmazonSDK, s3Secrets, amazonAccount, s3Bucket},
		{OneDrive, "OneDrive", ProtocolGraph, nil, nil, nil},
		{Box, "Box", ProtocolBox, nil, nil, nil},
		{DellIsilon, "DellIsilon", ProtocolSMB, smbSecrets, smbServer, smbShare},
		{AzureFiles, "AzureFiles", ProtocolAzureFiles, nil, nil, nil},
		{SMBCompatible, "SmbCompatible", ProtocolSMB, smbSecrets, smbServer, smbShare},
		{S3Compatible, "S3Compatible", ProtocolAmazonSDK, s3Secrets, compatibleAccount, s3Bucket},
		{AzureBlob, "AzureBlob", ProtocolAzureBlob, azureSecrets, azureAccount, azureContainer},
		{AlibabaCloud, "AlibabaCloud", ProtocolAlibaba, nil, nil, nil},
		{GoogleCloud, "GoogleCloud", ProtocolGoogleCloud, gcsSecrets, googleAccount, gcsBucket},
		{LocalFolder, "LocalFolder", ProtocolLocal, nil, localBase, localFolder},
	}
}

// Served reports whether there is a connector for the vendor.
func (v Vendor) Served() bool { return v.base != nil }

// Hosts reports whether the vendor has accounts whose places can be listed.
func (v Vendor) Hosts() bool { return v.Served() && v.Number != LocalFolder }

// ParseVendor reads a vendor's number or name, whatever its case.
func ParseVendor(text string) (Vendor, error) {
	text = strings.TrimSpace(text)
	n, err := strconv.Atoi(text)
	var served []string
	for _, v := range Vendors() {
		if err == nil && v.Number == n || strings.EqualFold(v.Name, text) {
			return v, nil
		}
		if v.Served() {
			served = append(served, fmt.Sprintf("%s (%d)", v.Name, v.Number))
		}
	}
	return Vendor{}, fault.New(fault.Invalid, "control.Vendor", "", fmt.Errorf("StorageVendorType: %q is none: there are %s", cut(text, 40), strings.Join(served, ", ")))
}

// VendorOf finds a vendor by its number.
func VendorOf(number int) (Vendor, bool) {
	list := Vendors()
	i := slices.IndexFunc(list, func(v Vendor) bool { return v.Number == number })
	if i < 0 {
		return Vendor{}, false
	}
	return list[i], true
}

// served refuses a vendor that there is no connector for.
func (v Vendor) served() error {
	if v.Served() {
		return nil
	}
	var names []string
	for _, o := range Vendors() {
		if o.Served() {
			names = append(names, o.Name)
		}
	}
	return fault.New(fault.Unsupported, "control.Vendor", "", fmt.Errorf("there is no connector for %s: there are %s", v.Name, strings.Join(names, ", ")))
}

// EnabledModules are the protocols that there are connectors for, in order.
func EnabledModules() []int {
	var list []int
	for _, v := range Vendors() {
		if v.Served() {
			list = append(list, v.Protocol)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func cut(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// wrongField is the error of a field of credentials or a source.
func wrongField(name, what string) error {
	return fault.New(fault.Invalid, "control.Storage", "", errors.New(name+": "+what))
}
