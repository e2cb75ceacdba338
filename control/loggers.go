package control

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/landwaiter/landwaiter/account"
	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// A LoggerType is what an external logger is, with the product's numbers.
type LoggerType int

// The types of loggers.
const (
	SyslogUDP LoggerType = iota
	Kafka
)

// A Logger is a server that the audit and finished files go to. Its noun is
// disabled while it is off. Password is sealed for SealLogger.
type Logger struct {
	Type     LoggerType `json:"type"`
	Host     string     `json:"host,omitempty"` // syslog
	Port     int        `json:"port,omitempty"`
	Servers  []string   `json:"servers,omitempty"` // Kafka: host:port
	Topic    string     `json:"topic,omitempty"`
	SASL     string     `json:"sasl,omitempty"` // "", PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
	Username string     `json:"username,omitempty"`
	Password string     `json:"password,omitempty"`
	TLS      bool       `json:"tls,omitempty"`
}

// maxLoggers bounds the loggers of a tenant.
const maxLoggers = 16

// name is what tells two loggers apart: the place they write to.
func (l Logger) name() string {
	if l.Type == Kafka {
		return "kafka " + strings.Join(l.Servers, ",") + " " + l.Topic
	}
	return "syslog " + net.JoinHostPort(l.Host, strconv.Itoa(l.Port))
}

// Loggers lists the caller's tenant's external loggers; passwords are sealed.
func (c *Control) Loggers(ctx context.Context) ([]ledger.Noun, error) {
	return get(ctx, c, act{action: "logger.list"}, func(ctx context.Context, who account.Caller) ([]ledger.Noun, error) {
		return c.Store.Nouns(ctx, who.Tenant, ledger.Logger)
	})
}

// AddLogger adds one. fault.Exists if there is one to the same place.
func (c *Control) AddLogger(ctx context.Context, l Logger, enabled bool) (ledger.Noun, error) {
	return get(ctx, c, act{action: "logger.add", target: l.name()}, func(ctx context.Context, who account.Caller) (ledger.Noun, error) {
		n := ledger.Noun{Tenant: who.Tenant, Kind: ledger.Logger, Name: l.name(), Disabled: !enabled}
		list, err := c.Store.Nouns(ctx, who.Tenant, ledger.Logger)
		if err != nil {
			return n, err
		}
		if len(list) >= maxLoggers {
			return n, invalid("logger", fmt.Sprintf("there are %d already", maxLoggers))
		}
		if err := c.loggerFit(ctx, &l, Logger{}); err != nil {
			return n, err
		}
		if err := encode(&n, l); err != nil {
			return n, err
		}
		return c.addNoun(ctx, n)
	})
}

// SetLogger changes one of the same type; an empty password stays. enabled nil
// leaves it on or off.
func (c *Control) SetLogger(ctx context.Context, id ledger.ID, l Logger, enabled *bool) (ledger.Noun, error) {
	return get(ctx, c, act{action: "logger.set", target: id.String()}, func(ctx context.Context, who account.Caller) (ledger.Noun, error) {
		n, err := c.own(ctx, who.Tenant, ledger.Logger, id)
		if err != nil {
			return n, err
		}
		before, err := decode[Logger](n)
		if err != nil {
			return n, err
		}
		if before.Type != l.Type {
			return n, fault.New(fault.NotFound, "control.SetLogger", "", nil)
		}
		if err := c.loggerFit(ctx, &l, before); err != nil {
			return n, err
		}
		n.Name = l.name()
		if enabled != nil {
			n.Disabled = !*enabled
		}
		if err := encode(&n, l); err != nil {
			return n, err
		}
		return c.setNoun(ctx, n)
	})
}

// EnableLogger switches one on or off.
func (c *Control) EnableLogger(ctx context.Context, id ledger.ID, on bool) error {
	return c.do(ctx, act{action: "logger.set", target: id.String(), detail: fmt.Sprintf("enabled: %v", on)}, func(ctx context.Context, who account.Caller) error {
		n, err := c.own(ctx, who.Tenant, ledger.Logger, id)
		if err != nil {
			return err
		}
		n.Disabled = !on
		_, err = c.setNoun(ctx, n)
		return err
	})
}

// RemoveLogger removes one.
func (c *Control) RemoveLogger(ctx context.Context, id ledger.ID) error {
	return c.do(ctx, act{action: "logger.remove", target: id.String()}, func(ctx context.Context, who account.Caller) error {
		n, err := c.own(ctx, who.Tenant, ledger.Logger, id)
		if err != nil {
			return err
		}
		return c.removeNoun(ctx, n)
	})
}

// loggerFit checks where a logger writes to, and seals its password, which stays
// only for the servers that it was given for.
func (c *Control) loggerFit(ctx context.Context, l *Logger, before Logger) error {
	if l.Type == SyslogUDP {
		if l.Port == 0 {
			l.Port = 514
		}
		return c.Guard.CheckAddr(ctx, net.JoinHostPort(l.Host, strconv.Itoa(l.Port)))
	}
	if strings.Join(before.Servers, ",") != strings.Join(l.Servers, ",") {
		before.Password = ""
	}
	l.Password = c.reseal(SealLogger, l.Password, before.Password)
	switch l.SASL = strings.ToUpper(l.SASL); l.SASL {
	case "":
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		if l.Username == "" || l.Password == "" {
			return invalid("saslMechanism", "it needs username and password")
		}
	default:
		return invalid("saslMechanism", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
	}
	if !topicFit(l.Topic) {
		return invalid("topic", "1 to 249 letters, digits, dots, dashes and underscores")
	}
	if len(l.Servers) == 0 {
		return invalid("bootstrapServers", "name at least one host:port")
	}
	for _, s := range l.Servers {
		if err := c.Guard.CheckAddr(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// topicFit reports whether Kafka takes a topic of this name.
func topicFit(s string) bool {
	return s != "" && len(s) <= 249 && s != "." && s != ".." && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-", r))
	})
}
