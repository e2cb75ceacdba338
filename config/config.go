// Package config reads the configuration: a YAML file, LANDWAITER_… variables
// and flags, in that order of strength. It decodes strictly: what it does not
// know is an error with its place in the file and the nearest name.
package config

import (
	"reflect"
	"runtime"
	"time"
)

// A Config is everything that a daemon is told. Units, pools and workflows are
// nouns with names; the rest are settings that variables and flags may override.
type Config struct {
	Data          string     `yaml:"data" default:"./landwaiter-data" doc:"Folder of the ledger, the quarantine and the control socket. A relative path is taken from the working folder."`
	Server        Server     `yaml:"server" doc:"The HTTP listener."`
	Log           Log        `yaml:"log" doc:"What is logged, on standard error."`
	Store         Store      `yaml:"store" doc:"Where the ledger is."`
	Bounds        Bounds     `yaml:"bounds" doc:"Numbers that keep the daemon bounded."`
	Sandbox       string     `yaml:"sandbox" default:"auto" enum:"required,auto,off" doc:"Whether parsers of content run boxed: required refuses to start without the kernel's help, auto takes what the kernel has, off runs them as plain child processes."`
	EncryptionKey Secret     `yaml:"encryption_key" doc:"32 bytes in base64 that seal the secrets which operators set over the API. Default: the file encryption.key in the data folder, made at the first start. Nodes that share a database need the same key."`
	Units         []Unit     `yaml:"units" doc:"The storage units to watch."`
	Pools         []Pool     `yaml:"pools" doc:"The groups of engines. Without one named default, the built-in engine is the pool default."`
	Accounts      []Account  `yaml:"accounts" doc:"Credentials that units share, and the buckets, containers and shares that are found with them."`
	Sources       []Source   `yaml:"sources" doc:"Queues and streams that tell of changes at once. A change of them needs a restart."`
	Hooks         []Hook     `yaml:"hooks" doc:"Calls of vendors that the listener takes, at /hooks/NAME. A change of them needs a restart."`
	Workflows     []Workflow `yaml:"workflows" doc:"What follows a verdict. Without one named default, default reports and changes nothing."`

	src     *source           // the file, for excerpts
	env     []string          // where references to secrets are looked up
	origins map[string]Origin // by path
	secrets map[string]string // references by path, for Show
}

// Server says where the daemon listens.
type Server struct {
	Listen            string   `yaml:"listen" default:"127.0.0.1:8480" doc:"HOST:PORT to listen at, or off."`
	LocalRoots        []string `yaml:"local_roots" doc:"Local folders below which the API may add storages. Nothing here: it may add none, for whoever reaches the API must not read this machine's disk."`
	LoopbackInstances bool     `yaml:"loopback_instances" default:"true" doc:"Whether engines that are added over the API may be at this machine's own addresses. MetaDefender Storage Security refuses those, since its parts run in containers."`
	AllowNetworks     []string `yaml:"allow_networks" doc:"Networks (10.0.0.0/8) that operators may have the daemon reach over the API, beside what is public: for storages, webhooks, mail and log servers, identity providers, scan instances. A change needs a restart."`
}

// Log says what is logged.
type Log struct {
	Level  string `yaml:"level" default:"info" enum:"debug,info,warn,error" doc:"The least level that is logged."`
	Format string `yaml:"format" default:"text" enum:"text,json" doc:"One line of text, or one JSON object, for each record."`
}

// Store says where the ledger is kept.
type Store struct {
	DSN Secret `yaml:"dsn" doc:"postgres://… of a PostgreSQL database. Empty: SQLite in the data folder."`
}

// Bounds are the numbers that keep the daemon bounded: full means wait or push
// back, never drop.
type Bounds struct {
	Workers      int           `yaml:"workers" min:"1" max:"4096" doc:"Small objects in work at once. Default: 8 for each core."`
	LargeWorkers int           `yaml:"large_workers" min:"1" max:"1024" doc:"Large objects in work at once. Default: 2 for each core."`
	LargeSize    Size          `yaml:"large_size" default:"8MiB" min:"1" doc:"Size from which an object is large."`
	BytesInWork  Size          `yaml:"bytes_in_work" default:"256MiB" min:"1MiB" doc:"Bytes of objects in work at once; a large one counts as large_size."`
	Backlog      int           `yaml:"backlog" default:"50000" min:"1" doc:"Pending entries of a unit at which sweeps and scans wait."`
	PushBacklog  int           `yaml:"push_backlog" default:"2000000" min:"1" doc:"Pending entries of all units together at which sources of events wait; with several units none may hold more than is still free."`
	DiskFree     int           `yaml:"disk_free" default:"10" min:"0" max:"90" doc:"Percent of the data folder's disk that must be free; below it sources wait, until twice as much is free."`
	Attempts     int           `yaml:"attempts" default:"20" min:"1" max:"1000" doc:"Attempts at one version before its entry fails."`
	AttemptsFor  time.Duration `yaml:"attempts_for" default:"24h" min:"1s" doc:"How long a version is tried again before its entry fails."`
	StepTimeout  time.Duration `yaml:"step_timeout" default:"1m" min:"1s" doc:"For one action on storage; large objects get more."`
	ScanTimeout  time.Duration `yaml:"scan_timeout" default:"10m" min:"1s" doc:"For one scan of one object."`
	Archive      Archive       `yaml:"archive" doc:"How far archives are opened. What lies beyond is not_scanned, never clean."`
}

// Archive bounds how far archives are opened.
type Archive struct {
	Depth    int  `yaml:"depth" default:"16" min:"0" max:"64" doc:"Archives in archives."`
	Entries  int  `yaml:"entries" default:"100000" min:"1" doc:"Members of one object, at all depths together."`
	Expanded Size `yaml:"expanded" default:"10GiB" min:"1MiB" doc:"Bytes unpacked from one object."`
	Ratio    int  `yaml:"ratio" default:"1000" min:"1" doc:"Bytes unpacked for each packed one."`
}

// A Size is a number of bytes.
type Size int64

// String writes the size as it may be written in the file.
func (s Size) String() string { return FormatSize(int64(s)) }

// A Unit is a storage unit. Its zero durations mean the defaults of its vendor.
type Unit struct {
	Name       string            `yaml:"name" need:"yes" doc:"Unique name."`
	URL        string            `yaml:"url" need:"yes" doc:"Where it is: file:///folder, s3://bucket/prefix?endpoint=…&region=…, gs://bucket/prefix, azblob://account/container/prefix, smb://host/share/folder. Secrets do not belong here but in options."`
	Account    string            `yaml:"account" doc:"Name of the account whose URL query and options it takes, except for its own."`
	Workflow   string            `yaml:"workflow" doc:"Name of the workflow. Default: default."`
	Partitions []string          `yaml:"partitions" doc:"Folders of the unit to watch. Default: all of it."`
	Options    map[string]Secret `yaml:"options" doc:"The vendor's own options, secrets among them."`
	Sweep      time.Duration     `yaml:"sweep" min:"1s" doc:"How often the whole unit is listed; with it, nothing at rest for longer is missed. Default: 10m for local folders, 1h where a source or hook names the unit, 1m for others."`
	Settle     time.Duration     `yaml:"settle" doc:"How long size and time must be stable where nothing better tells that an object is whole. Default: 2s."`
	SettleMax  time.Duration     `yaml:"settle_max" doc:"After this an object is scanned as it is. Default: 15m."`
	Versions   string            `yaml:"versions" default:"current" enum:"current,all" doc:"Which versions of an object are scanned."`
	Unfenced   bool              `yaml:"unfenced" doc:"Allow deleting where the vendor cannot make it conditional on the version that was scanned."`
	Probe      string            `yaml:"probe" doc:"Prefix under which capabilities are proven, ending in /, or off. Default: .landwaiter-probe/."`
	ReadOnly   bool              `yaml:"read_only" doc:"Look and read, change nothing."`
	Rate       float64           `yaml:"rate" min:"0" doc:"Calls a second to the vendor. Default: no limit."`
}

// An Account is credentials that units share.
type Account struct {
	Name     string            `yaml:"name" need:"yes" doc:"Unique name."`
	URL      string            `yaml:"url" need:"yes" doc:"Where it is, without a bucket: s3://?endpoint=…&region=…, gs://?project=…, azblob://account, smb://host:port."`
	Options  map[string]Secret `yaml:"options" doc:"The vendor's options, secrets among them, for every unit of the account."`
	Discover Discover          `yaml:"discover" doc:"What becomes a unit by itself."`
}

// Discover says which places of an account become units by themselves.
type Discover struct {
	Include  []string      `yaml:"include" doc:"Names of buckets, containers or shares, with * and ?. Nothing here: nothing is discovered."`
	Exclude  []string      `yaml:"exclude" doc:"Of those, what is left out."`
	Every    time.Duration `yaml:"every" default:"10m" min:"1s" doc:"How often the account is asked."`
	Workflow string        `yaml:"workflow" doc:"Name of the workflow of discovered units. Default: default."`
}

// A Source is a queue or stream of a vendor's events.
type Source struct {
	Name    string            `yaml:"name" need:"yes" doc:"Unique name, also among the hooks."`
	URL     string            `yaml:"url" need:"yes" doc:"sqs://, pubsub://, azqueue://, nats://, kafka://: see docs/events.md."`
	Units   []string          `yaml:"units" doc:"The units it may speak of. Default: all."`
	Options map[string]Secret `yaml:"options" doc:"The source's own options, secrets among them."`
}

// A Hook takes calls of a vendor.
type Hook struct {
	Name    string            `yaml:"name" need:"yes" doc:"Unique name, also among the sources; the last part of its address, /hooks/NAME."`
	Kind    string            `yaml:"kind" need:"yes" enum:"sns,eventgrid,pubsub,s3,standard" doc:"Who calls: see docs/webhooks.md."`
	Units   []string          `yaml:"units" doc:"The units it may speak of. Default: all."`
	Options map[string]Secret `yaml:"options" doc:"The kind's own options, secrets among them."`
}

// A Pool is a group of engines that shares load and fails over.
type Pool struct {
	Name              string        `yaml:"name" need:"yes" doc:"Unique name."`
	Instances         []Instance    `yaml:"instances" doc:"The engines of the pool."`
	Failover          string        `yaml:"failover" doc:"The pool that is asked while no instance of this one can answer."`
	MaxDefinitionsAge time.Duration `yaml:"max_definitions_age" default:"7d" doc:"A clean from definitions older than this does not count: not_scanned(stale_definitions). 0: any age. Definitions whose age is unknown (clamd with a database of one's own) count while nothing is written here, with a warning; with an age written here they are stale. The builtin engine's do not go stale: only an age written here counts, for the newest of its hash lists."`

	// AgeAsked says that somebody wrote MaxDefinitionsAge.
	AgeAsked bool `yaml:"-" json:"-"`
}

// An Instance is an engine at an address.
type Instance struct {
	URL      string        `yaml:"url" need:"yes" doc:"builtin:, clamd:///path/to/socket, clamd://host:port, mdcore://host:port, mdcores://host:port."`
	Limit    int           `yaml:"limit" min:"0" max:"10000" doc:"Objects in flight to it. Default: the engine's own, 64."`
	Timeout  time.Duration `yaml:"timeout" min:"0" max:"24h" doc:"How long one object may take, not for builtin:. Default: the engine's own, 15m for mdcore, 5m for clamd."`
	APIKey   Secret        `yaml:"api_key" doc:"Its API key."`
	User     string        `yaml:"user" doc:"mdcore: the user to log in as, where there is no API key."`
	Password Secret        `yaml:"password" doc:"mdcore: the password of that user."`
	CAFile   string        `yaml:"ca_file" doc:"mdcores: file of PEM certificates that may have signed that of the instance. Default: those of the system."`
	Hashes   []string      `yaml:"hashes" doc:"builtin: only: files, or folders of files, of hashes of known malware: SHA-256, SHA-1 or MD5, one a line with a name, or ClamAV's .hdb and .hsb. They are read again when they change."`
	Rule     string        `yaml:"rule" doc:"The engine's own rule or workflow; a workflow's rule goes before it."`
}

// A Workflow is a section that package workflow decodes itself.
type Workflow = Section

// NewPool returns a pool as if it stood in the file with nothing but its name
// and instances.
func NewPool(name string, instances ...Instance) Pool {
	var p Pool
	preset(reflect.ValueOf(&p).Elem())
	p.Name, p.Instances = name, instances
	return p
}

// complete fills in the defaults that depend on the machine, and what depends
// on who wrote a value.
func (c *Config) complete() {
	for i := range c.Pools {
		c.Pools[i].AgeAsked = c.Origin(poolPath(i)+".max_definitions_age").From != "default"
	}
	cores := runtime.GOMAXPROCS(0)
	if c.Bounds.Workers == 0 {
		c.Bounds.Workers = 8 * cores
	}
	if c.Bounds.LargeWorkers == 0 {
		c.Bounds.LargeWorkers = 2 * cores
	}
}
