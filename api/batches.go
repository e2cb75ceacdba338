package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/landwaiter/landwaiter/control"
)

// batchInput is an array of storages, or an object that holds it as "storages".
type batchInput struct {
	RawBody     []byte `contentType:"application/json"`
	ContentType string `header:"Content-Type"`
}

// specs reads the storages, each as POST /api/storage does.
func (in *batchInput) specs(a *API) ([]control.StorageSpec, error) {
	var list []json.RawMessage
	if bytes.HasPrefix(bytes.TrimSpace(in.RawBody), []byte("[")) {
		if json.Unmarshal(in.RawBody, &list) != nil {
			return nil, newProblem(http.StatusBadRequest, "the body is no JSON")
		}
	} else {
		var object struct {
			Storages []json.RawMessage `json:"storages"`
		}
		if json.Unmarshal(in.RawBody, &object) != nil {
			return nil, newProblem(http.StatusBadRequest, "want an array of storages, or an object with storages")
		}
		list = object.Storages
	}
	if len(list) > control.MaxBatch {
		return nil, newProblem(http.StatusBadRequest, "too many storages: "+strconv.Itoa(control.MaxBatch)+" at most")
	}
	specs := make([]control.StorageSpec, 0, len(list))
	for i, raw := range list {
		f, err := (&Form[storageFields]{RawBody: raw, ContentType: "application/json"}).read(a)
		if err != nil {
			return nil, newProblem(http.StatusBadRequest, "storage "+strconv.Itoa(i)+": "+err.Error())
		}
		specs = append(specs, f.spec())
	}
	return specs, nil
}

// BatchResult is what became of one storage of a batch.
type BatchResult struct {
	Name            string `json:"name"`
	StorageID       string `json:"storageId" doc:"Empty if it was not added."`
	Result          int    `json:"result" enum:"0,1" doc:"0 added, 1 not."`
	ResponseMessage string `json:"responseMessage" doc:"Why not."`
}

type batchAnswer struct {
	Body struct {
		Envelope
		StorageID   string        `json:"storageId" doc:"The token of the batch, for GET /api/storage/results."`
		IsCompleted bool          `json:"isCompleted"`
		Entries     []BatchResult `json:"entries"`
		TotalCount  int64         `json:"totalCount"`
	}
}

func batched(b control.Batch) *batchAnswer {
	out := &batchAnswer{}
	out.Body.Envelope, out.Body.StorageID, out.Body.IsCompleted, out.Body.TotalCount = done(), b.Token.String(), true, int64(len(b.Results))
	out.Body.Entries = make([]BatchResult, 0, len(b.Results))
	for _, r := range b.Results {
		e := BatchResult{Name: r.Name, StorageID: idText(r.Storage), ResponseMessage: r.Why}
		if r.Why != "" {
			e.Result = resultError
		}
		out.Body.Entries = append(out.Body.Entries, e)
	}
	return out
}

// number reads a number of digits; one that is too large is the largest.
func number(s string) int {
	const most = 1<<31 - 1
	n, err := strconv.Atoi(s)
	if err != nil || n > most {
		return most
	}
	return n
}
