package api
func (a *API) webhooks() {}
