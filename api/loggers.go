package api

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/landwaiter/landwaiter/control"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// A LoggerEntry is a server that the audit and finished files go to.
type LoggerEntry struct {
	ID         string     `json:"id" format:"uuid"`
	Enabled    bool       `json:"isEnabled"`
	Type       int        `json:"loggerType" enum:"0,1" doc:"0 SyslogUdp, 1 Kafka."`
	Connection Connection `json:"connectionSettings"`
}

// A Connection is where a logger writes to; $type says which of the fields count.
type Connection struct {
	Type     string `json:"$type" enum:"SyslogUdp,Kafka"`
	Host     string `json:"host,omitempty"`
	Port     int    `json:"port,omitempty"`
	Servers  string `json:"bootstrapServers,omitempty"`
	Topic    string `json:"topic,omitempty"`
	SASL     string `json:"saslMechanism,omitempty"`
	Username string `json:"username,omitempty"`
	TLS      bool   `json:"useTls,omitempty"`
}

func loggerOf(n ledger.Noun) LoggerEntry {
	var l control.Logger
	_ = json.Unmarshal(n.Body, &l) // control wrote it
	e := LoggerEntry{ID: n.ID.String(), Enabled: !n.Disabled, Type: int(l.Type), Connection: Connection{Type: "SyslogUdp", Host: l.Host, Port: l.Port}}
	if l.Type == control.Kafka {
		e.Connection = Connection{Type: "Kafka", Servers: strings.Join(l.Servers, ","), Topic: l.Topic, SASL: l.SASL, Username: l.Username, TLS: l.TLS}
	}
	return e
}

type loggerEntry struct {
	Body struct {
		Envelope
		ID    string      `json:"id"`
		Entry LoggerEntry `json:"entry"`
	}
}

func answerLogger(n ledger.Noun) *loggerEntry {
	out := &loggerEntry{}
	out.Body.Envelope, out.Body.ID, out.Body.Entry = done(), n.ID.String(), loggerOf(n)
	return out
}

// A SyslogConnection is where a log server listens.
type SyslogConnection struct {
	Host string `json:"host" minLength:"1" maxLength:"253" example:"syslog.example.org"`
	Port int    `json:"port,omitempty" minimum:"1" maximum:"65535" default:"514"`
}

// A KafkaConnection is a topic and how to reach it.
type KafkaConnection struct {
	Servers  string `json:"bootstrapServers" minLength:"1" maxLength:"2000" example:"kafka1.example.org:9092,kafka2.example.org:9092"`
	Topic    string `json:"topic" minLength:"1" maxLength:"249" example:"landwaiter"`
	SASL     string `json:"saslMechanism,omitempty" maxLength:"20" doc:"PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty: no login."`
	Username string `json:"username,omitempty" maxLength:"320"`
	Password string `json:"password,omitempty" maxLength:"1024" doc:"Never answered; empty keeps the one that is set for the same servers."`
	TLS      bool   `json:"useTls,omitempty"`
}

// syslogInput and kafkaInput are bodies with the id of the logger that is to be
// changed; none adds one.
type syslogInput struct {
	Body struct {
		ID         ID               `json:"id,omitempty" doc:"Of the logger that is changed."`
		Enabled    *bool            `json:"isEnabled,omitempty" doc:"true where nothing is said of a new one."`
		Connection SyslogConnection `json:"connectionSettings"`
	}
}

type kafkaInput struct {
	Body struct {
		ID         ID              `json:"id,omitempty" doc:"Of the logger that is changed."`
		Enabled    *bool           `json:"isEnabled,omitempty" doc:"true where nothing is said of a new one."`
		Connection KafkaConnection `json:"connectionSettings"`
	}
}

func (in *syslogInput) logger() control.Logger {
	return control.Logger{Type: control.SyslogUDP, Host: in.Body.Connection.Host, Port: in.Body.Connection.Port}
}

func (in *kafkaInput) logger() control.Logger {
	c := in.Body.Connection
	l := control.Logger{Type: control.Kafka, Topic: c.Topic, SASL: c.SASL, Username: c.Username, Password: c.Password, TLS: c.TLS}
	for s := range strings.SplitSeq(c.Servers, ",") {
		l.Servers = append(l.Servers, strings.TrimSpace(s))
	}
	return l
}

func (in *syslogInput) which() (ledger.ID, *bool) { return in.Body.ID.ID, in.Body.Enabled }
func (in *kafkaInput) which() (ledger.ID, *bool)  { return in.Body.ID.ID, in.Body.Enabled }

// A loggerInput is a body of either type.
type loggerInput interface {
	logger() control.Logger
	which() (id ledger.ID, enabled *bool)
}

func (a *API) addLogger(ctx context.Context, in loggerInput) (*loggerEntry, error) {
	_, enabled := in.which()
	n, err := a.c.AddLogger(ctx, in.logger(), enabled == nil || *enabled)
	return answerLogger(n), err
}

func (a *API) setLogger(ctx context.Context, in loggerInput) (*loggerEntry, error) {
	id, enabled := in.which()
	n, err := a.c.SetLogger(ctx, id, in.logger(), enabled)
	return answerLogger(n), err
}

func (a *API) loggers() {
	const tag, path = "External loggers", "/api/externallogger"
	register(a, Op{ID: "listLoggers", Method: "GET", Path: path, Action: "logger.list", Tag: tag, Summary: "Retrieve external loggers"},
		func(ctx context.Context, _ *struct{}) (*entries[LoggerEntry], error) {
			list, err := a.c.Loggers(ctx)
			return listed(list, loggerOf), err
		})
	register(a, Op{ID: "enableLogger", Method: "PUT", Path: path + "/status", Action: "logger.set", Tag: tag, Summary: "Update external logger state", Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			Body struct {
				ID      ID    `json:"id"`
				Enabled *bool `json:"isEnabled,omitempty"`
			}
		}) (*Done, error) {
			if in.Body.Enabled == nil {
				return nil, fault.New(fault.Invalid, "api", "isEnabled is missing", nil)
			}
			return &Done{done()}, a.c.EnableLogger(ctx, in.Body.ID.ID, *in.Body.Enabled)
		})
	register(a, Op{ID: "addSyslog", Method: "POST", Path: path + "/udpSyslog", Action: "logger.add", Tag: tag, Summary: "Add a new Syslog server configuration", Errors: []int{409, 503}},
		func(ctx context.Context, in *syslogInput) (*loggerEntry, error) { return a.addLogger(ctx, in) })
	register(a, Op{ID: "setSyslog", Method: "PUT", Path: path + "/udpSyslog", Action: "logger.set", Tag: tag, Summary: "Update a Syslog server configuration", Errors: []int{404, 409, 503}},
		func(ctx context.Context, in *syslogInput) (*loggerEntry, error) { return a.setLogger(ctx, in) })
	register(a, Op{ID: "addKafka", Method: "POST", Path: path + "/kafka", Action: "logger.add", Tag: tag, Summary: "Add a new Kafka server configuration", Errors: []int{409, 503}},
		func(ctx context.Context, in *kafkaInput) (*loggerEntry, error) { return a.addLogger(ctx, in) })
	register(a, Op{ID: "setKafka", Method: "PUT", Path: path + "/kafka", Action: "logger.set", Tag: tag, Summary: "Update a Kafka server configuration", Errors: []int{404, 409, 503}},
		func(ctx context.Context, in *kafkaInput) (*loggerEntry, error) { return a.setLogger(ctx, in) })
	register(a, Op{ID: "removeLogger", Method: "DELETE", Path: path + "/{id}", Action: "logger.remove", Tag: tag, Summary: "Delete external logger", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			ID ID `path:"id" doc:"The logger's id."`
		}) (*Done, error) {
			return &Done{done()}, a.c.RemoveLogger(ctx, in.ID.ID)
		})
}
