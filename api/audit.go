package api

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/landwaiter/landwaiter/fault"
	"github.com/landwaiter/landwaiter/ledger"
)

// An AuditEntry is what somebody did, or tried.
type AuditEntry struct {
	ID        string    `json:"id" doc:"The row's number in the chain." example:"17"`
	Timestamp time.Time `json:"timestamp"`
	UserID    string    `json:"userId" doc:"Empty for the system and the machine's operator."`
	UserName  string    `json:"userName"`
	LogType   string    `json:"logType" enum:"UserAction,System,Access"`
	Category  string    `json:"categoryType" example:"Storage"`
	LogLevel  int       `json:"logLevel" enum:"0,1,2" doc:"0 Info, 1 Warning, 2 Error."`
	Level     string    `json:"logLevelName" enum:"Info,Warning,Error"`
	Action    string    `json:"action" example:"group.add"`
	Target    string    `json:"target"`
	Message   string    `json:"message"`
}

func auditOf(r ledger.AuditRow) AuditEntry {
	e := AuditEntry{ID: strconv.FormatInt(r.N, 10), Timestamp: r.At, UserName: r.Who, LogType: r.Type.String(), Category: r.Category.String(), LogLevel: int(r.Level),
		Level: r.Level.String(), Action: r.Action, Target: r.Target, Message: r.Detail}
	if r.WhoID != (ledger.ID{}) {
		e.UserID = r.WhoID.String()
	}
	return e
}

type auditQuery struct {
	Start    string `path:"startIndex" maxLength:"10" doc:"Entries left out, of the newest." example:"0"`
	Count    string `path:"count" maxLength:"10" doc:"How many at most: 1 to 1000." example:"50"`
	Type     string `query:"logType" maxLength:"50" doc:"A number or a name: 0 UserAction, 1 System, 2 Access."`
	Category string `query:"categoryType" maxLength:"50" doc:"A number or a name, as categoryType shows it."`
	Level    string `query:"logLevel" maxLength:"50" doc:"A number or a name: 0 Info, 1 Warning, 2 Error."`
	Search   string `query:"searchText" maxLength:"500" doc:"Part of who, action, target or message."`
}

func (a *API) audit() {
	register(a, Op{ID: "listAudit", Method: "GET", Path: "/api/audit/{startIndex}/{count}", Action: "audit.list", Tag: "Audit", Summary: "Fetch audit logs",
		About: "The newest first. Several filters all have to fit."},
		func(ctx context.Context, in *auditQuery) (*entries[AuditEntry], error) {
			f, err := in.filter()
			if err != nil {
				return nil, err
			}
			list, total, err := a.c.Audit(ctx, f)
			return paged(list, total, auditOf), err
		})
}

// filter reads the query.
func (q *auditQuery) filter() (f ledger.AuditFilter, err error) {
	if f.Start, f.Limit, err = pageOf(q.Start, q.Count, maxPage); err != nil {
		return f, err
	}
	f.Search = q.Search
	if f.Type, err = numberOrName[ledger.AuditType]("logType", q.Type); err != nil {
		return f, err
	}
	if f.Category, err = numberOrName[ledger.AuditCategory]("categoryType", q.Category); err != nil {
		return f, err
	}
	f.Level, err = numberOrName[ledger.AuditLevel]("logLevel", q.Level)
	return f, err
}

// maxPage is the longest page of a list.
const maxPage = 1000

// pageOf reads a page from a path.
func pageOf(start, count string, most int) (from, n int, err error) {
	f, err1 := strconv.ParseUint(start, 10, 31)
	c, err2 := strconv.ParseUint(count, 10, 31)
	if err1 != nil || err2 != nil || c == 0 || c > uint64(most) {
		return 0, 0, fault.New(fault.Invalid, "api", "startIndex is a number from 0 on, count one from 1 to "+strconv.Itoa(most), nil)
	}
	return int(f), int(c), nil
}

// numberOrName reads a value of an enumeration; nil for "".
func numberOrName[T interface {
	~int
	String() string
}](what, s string) (*T, error) {
	if s == "" {
		return nil, nil
	}
	const most = 100 // values of an enumeration
	for i := range most {
		v := T(i)
		if v.String() == "Unknown" {
			break
		}
		if strings.EqualFold(s, v.String()) || s == strconv.Itoa(i) {
			return &v, nil
		}
	}
	return nil, fault.New(fault.Invalid, "api", what+" has no such value", nil)
}

// paged answers with one page of a list.
func paged[N, T any](list []N, total int64, word func(N) T) *entries[T] {
	out := listed(list, word)
	out.Body.TotalCount = total
	return out
}
