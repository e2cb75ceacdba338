// The page of the API: reads the document beside it, shows each operation, and
// can call it. It talks to its own server alone.
"use strict";

const $ = (id) => document.getElementById(id);
let doc, token = "";

// el makes an element; text never becomes markup.
function el(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

const resolve = (s) => (s && s.$ref ? doc.components.schemas[s.$ref.split("/").pop()] : s) || {};

// sample is a value of a schema, for the body of a call.
function sample(schema, depth = 0) {
  const s = resolve(schema);
  if (s.examples && s.examples.length) return s.examples[0];
  if (s.default !== undefined) return s.default;
  if (s.enum) return s.enum[0];
  const type = Array.isArray(s.type) ? s.type[0] : s.type;
  if (type === "object" || s.properties) {
    const o = {};
    if (depth < 6) for (const [k, v] of Object.entries(s.properties || {})) o[k] = sample(v, depth + 1);
    return o;
  }
  if (type === "array") return depth < 6 ? [sample(s.items, depth + 1)] : [];
  return { integer: s.minimum || 0, number: s.minimum || 0, boolean: false }[type] ?? "";
}

function words(schema) {
  const s = resolve(schema);
  const w = [Array.isArray(s.type) ? s.type.join(" or ") : s.type || "object"];
  if (s.format) w.push(s.format);
  if (s.enum) w.push("one of " + s.enum.join(", "));
  for (const [k, t] of [["minLength", "at least"], ["maxLength", "at most"]]) if (s[k] !== undefined) w.push(`${t} ${s[k]} characters`);
  for (const [k, t] of [["minimum", "from"], ["maximum", "to"]]) if (s[k] !== undefined) w.push(`${t} ${s[k]}`);
  return w.join(", ");
}

function fields(schema, prefix = "", depth = 0) {
  const s = resolve(schema), needed = new Set(s.required || []), rows = [];
  for (const [k, v] of Object.entries(s.properties || {})) {
    const r = resolve(v);
    rows.push(el("tr", {}, el("td", {}, el("code", {}, prefix + k), needed.has(k) ? " *" : ""), el("td", { class: "soft" }, words(v)), el("td", {}, v.description || r.description || "")));
    const inner = r.items ? resolve(r.items) : r;
    if (depth < 3 && inner.properties) rows.push(...fields(inner, prefix + k + (r.items ? "[]." : "."), depth + 1));
  }
  return rows;
}

const table = (rows) => el("table", {}, el("tbody", {}, ...rows));

function show(op) {
  const main = $("main");
  main.replaceChildren(
    el("h2", {}, op.summary || op.operationId),
    el("p", { class: "path" }, el("span", { class: "method " + op.method }, op.method), " ", op.path),
    el("p", {}, op.description || ""));
  const inputs = new Map();
  if ((op.parameters || []).length) {
    main.append(el("h3", {}, "Parameters"), table(op.parameters.map((p) => {
      const input = el("input", { "aria-label": p.name });
      inputs.set(p, input);
      return el("tr", {}, el("td", {}, el("code", {}, p.name), p.required ? " *" : ""), el("td", { class: "soft" }, p.in + ", " + words(p.schema)), el("td", {}, p.description || "", el("div", {}, input)));
    })));
  }
  const content = (op.requestBody || {}).content || {};
  const schema = (content["application/json"] || Object.values(content)[0] || {}).schema;
  let body;
  if (schema) {
    body = el("textarea", { "aria-label": "Body", spellcheck: "false" });
    body.value = JSON.stringify(sample(schema), null, 2);
    main.append(el("h3", {}, "Body"), table(fields(schema)), body);
  }
  const out = el("pre", { hidden: "" }), button = el("button", {}, "Call it");
  button.onclick = async () => {
    let path = op.path;
    const query = new URLSearchParams();
    for (const [p, input] of inputs) {
      if (p.in === "path") path = path.replace("{" + p.name + "}", encodeURIComponent(input.value));
      else if (p.in === "query" && input.value !== "") query.set(p.name, input.value);
    }
    const headers = token ? { Authorization: "Bearer " + token } : {};
    if (body) headers["Content-Type"] = "application/json";
    out.hidden = false;
    out.textContent = "…";
    try {
      const r = await fetch(path + (query.size ? "?" + query : ""), { method: op.method, headers, body: body ? body.value : undefined });
      const text = await r.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is no JSON */ }
      out.textContent = r.status + " " + r.statusText + "\n" + shown.slice(0, 200000);
    } catch (e) { out.textContent = String(e); }
  };
  if (op.method !== "GET" || !op.path.endsWith("/events")) main.append(el("p", {}, button), out);
  main.append(el("h3", {}, "Answers"));
  for (const [status, r] of Object.entries(op.responses || {})) {
    const s = (Object.values(r.content || {})[0] || {}).schema;
    const d = el("details", {}, el("summary", {}, status + " " + (r.description || "")));
    if (s) d.append(table(fields(s)));
    main.append(d);
  }
  main.focus();
}

function list(filter) {
  const groups = new Map();
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const [method, op] of Object.entries(item)) {
      const o = { ...op, method: method.toUpperCase(), path };
      if (filter && !(o.method + " " + path + " " + o.summary).toLowerCase().includes(filter)) continue;
      const tag = (op.tags || ["Other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(o);
    }
  }
  $("list").replaceChildren(...[...groups].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([tag, ops]) => [el("h2", {}, tag), ...ops.map((o) => {
    const a = el("a", { href: "#" + o.operationId, title: o.summary || "" }, el("span", { class: "method " + o.method }, o.method), el("span", { class: "path" }, o.path.replace(/^\/api/, "")));
    if (location.hash === "#" + o.operationId) a.setAttribute("aria-current", "true");
    return a;
  })]));
  return groups;
}

function navigate() {
  const groups = list($("search").value.trim().toLowerCase());
  const id = location.hash.slice(1);
  for (const ops of groups.values()) for (const o of ops) if (o.operationId === id) return show(o);
}

$("search").oninput = () => list($("search").value.trim().toLowerCase());
window.onhashchange = navigate;
$("login").onsubmit = async (e) => {
  e.preventDefault();
  const r = await fetch("user/authenticate", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ userName: $("user").value, password: $("password").value }) });
  const got = await r.json();
  token = got.accessToken || "";
  $("password").value = "";
  $("who").textContent = token ? "logged in" : got.responseMessage;
};
fetch("openapi.json").then((r) => r.json()).then((d) => {
  doc = d;
  $("version").textContent = d.info.version;
  $("about").textContent = d.info.description;
  navigate();
});
