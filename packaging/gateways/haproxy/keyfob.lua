-- Asks Keyfob whether a call may pass, for haproxy.cfg.
--
-- The action `keyfob` sets the identity fields and `txn.keyfob_accepted` of an accepted call, and answers
-- a refused one itself.
-- Nothing is decoded: Keyfob gets the path as HAProxy sends it to the backend.

-- The section of haproxy.cfg that lists the authorizers, in the order in which they are asked.
local BACKEND = "keyfob"
local SERVERS = { "first", "second" }
-- HAProxy asks up to four times on its own, so an authorizer that is silent costs a second.
local TIMEOUT_MS = 250

-- Every one of them is set, also if it is empty, so that no client can choose one.
local IDENTITY = {
  "X-Keyfob-Key-Id", "X-Keyfob-Owner", "X-Keyfob-Team", "X-Keyfob-Namespace",
  "X-Keyfob-Scopes", "X-Keyfob-Expires", "X-Keyfob-Identity",
}
-- What the client gets of a refusal. The reason is for the log alone.
local REFUSAL = { "content-type", "www-authenticate", "retry-after", "cache-control" }
-- What Keyfob gets of the call, besides its method, path and address.
local QUESTION = { "authorization", "traceparent", "x-request-id" }

local function values(headers, name)
  local list, found = headers[name], {}
  if list then
    for at = 0, #list do found[#found + 1] = list[at] end
  end
  return found
end

-- The answer of one authorizer, or nil if it gives none.
local function ask_one(txn, name, headers)
  -- (`get_stats` would also tell, and costs as much as the question.)
  local up = txn.f:srv_is_up(BACKEND .. "/" .. name)
  if up ~= 1 and up ~= true then return nil end
  local answer = core.httpclient():get {
    url = "http://" .. core.backends[BACKEND].servers[name]:get_addr() .. "/auth",
    headers = headers,
    timeout = TIMEOUT_MS,
  }
  -- HAProxy makes 503 and 504 of no answer, and 0 of a connection that ends before it. Keyfob's answers
  -- must not be stored.
  if not answer or not answer.status or not answer.headers then return nil end
  if answer.status < 200 then return nil end
  local cache = values(answer.headers, "cache-control")[1]
  if answer.status >= 500 and cache ~= "no-store" then return nil end
  return answer
end

local function ask(txn, headers)
  local last
  for _, name in ipairs(SERVERS) do
    local answer = ask_one(txn, name, headers)
    if answer and answer.status < 500 then return answer end
    last = answer or last
  end
  return last
end

local function refuse(txn, answer)
  local reply
  if answer then
    txn:set_var("txn.keyfob_reason", values(answer.headers, "x-keyfob-reason")[1] or "")
    reply = txn:reply { status = answer.status, body = answer.body or "" }
    for _, name in ipairs(REFUSAL) do
      for _, value in ipairs(values(answer.headers, name)) do reply:add_header(name, value) end
    end
  else
    reply = txn:reply { status = 503, body = '{"title":"Service Unavailable","status":503}' }
    reply:add_header("content-type", "application/problem+json")
    reply:add_header("retry-after", "1")
    reply:add_header("cache-control", "no-store")
  end
  txn:done(reply)
end

core.register_action("keyfob", { "http-req" }, function(txn)
  local call = txn.http:req_get_headers()
  local headers = {
    ["x-forwarded-method"] = { txn.f:method() },
    ["x-forwarded-uri"] = { txn.f:pathq() },
    ["x-forwarded-host"] = { txn.f:req_fhdr("host") or "" },
    ["x-forwarded-for"] = { txn.f:src() },
  }
  for _, name in ipairs(QUESTION) do
    local found = values(call, name)
    if #found > 0 then headers[name] = found end
  end
  local answer = ask(txn, headers)
  if not answer or answer.status < 200 or answer.status > 299 then return refuse(txn, answer) end
  for _, name in ipairs(IDENTITY) do
    txn.http:req_set_header(name, values(answer.headers, name:lower())[1] or "")
  end
  -- Without it, haproxy.cfg refuses the call: this script may end by an error at any place before.
  txn:set_var("txn.keyfob_accepted", true)
end, 0)
