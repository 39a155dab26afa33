-- Settlement (settlement.py) -----------------------------------------------------------------------------------------

local function mean(old, value, weight)
  if old == 0 then return value end
  return old + floor((value - old) / weight)
end

-- Closes one live lease in place; returns the usage event.
local function close(tag, pool, mine, terms, lease, lease_key, actual, outcome, source, final, now, arg)
  touch_pool(pool, now)
  local micro = actual * MICRO
  mine.bucket_micro = mine.bucket_micro + (lease.tokens - actual) * MICRO
  local spilled = max(0, mine.bucket_micro - terms.bucket_size_micro)
  mine.bucket_micro = mine.bucket_micro - spilled
  mine.spilled_micro = mine.spilled_micro + spilled
  mine.reserved_tokens = mine.reserved_tokens - lease.tokens
  mine.charged_tokens = mine.charged_tokens + actual
  if mine.charged_tokens > @{FOLD_TOKENS} then
    mine.minted_micro = mine.minted_micro - mine.charged_tokens * MICRO - mine.spilled_micro
    mine.charged_tokens, mine.spilled_micro = 0, 0
  end
  local accrued = lease.worked_micro + lease.work_rate * (now - lease.worked_at_ms)
  mine.work_micro = (mine.work_micro + micro - accrued) % WRAP
  mine.work_rate = mine.work_rate - lease.work_rate
  if outcome == @{OUTCOME_COMPLETED} then
    local service = (now - lease.started_ms) * 1000
    mine.mean_charge_micro = mean(mine.mean_charge_micro, micro, 8)
    mine.mean_cost_micro = mean(mine.mean_cost_micro, lease.tokens * MICRO, 8)
    mine.mean_kv = mean(mine.mean_kv, lease.kv, 8)
    mine.mean_service_us = mean(mine.mean_service_us, service, 8)
    pool.mean_service_us = mean(pool.mean_service_us, service, 16)
  end
  mine.use_kv, mine.use_seats = mine.use_kv - lease.kv, mine.use_seats - lease.seats
  if lease.status == @{EVICTED} then
    pool.evicting_kv, pool.evicting_seats = pool.evicting_kv - lease.kv, pool.evicting_seats - lease.seats
  else
    pool.use_kv, pool.use_seats = pool.use_kv - lease.kv, pool.use_seats - lease.seats
    if lease.rank == 3 then
      pool.evictable_kv = pool.evictable_kv - lease.kv
      pool.evictable_seats = pool.evictable_seats - lease.seats
      call('HDEL', tag .. ':v', lease_key)
    end
  end
  if pool.use_kv <= pool.capacity_kv - 2 * pool.margin_kv and pool.use_seats <= pool.capacity_seats - 2 * pool.margin_seats then
    pool.contended = 0
  end
  rehold(pool, mine, terms)
  pool.sequence = pool.sequence + 1
  if final == @{EXPIRED} then pool.expired = pool.expired + 1 else pool.settled = pool.settled + 1 end
  lease.status, lease.charged_tokens, lease.spilled_micro = final, actual, spilled
  lease.overrun_tokens = max(0, actual - lease.tokens)
  return pack('@{event}', pool.sequence, lease.key_id, lease.tokens, actual, floor(spilled / MICRO), lease.overrun_tokens,
    lease.kv, lease.seats, lease.started_ms, now, lease.capacity_version, outcome, source) .. arg .. sub(lease_key, #tag + 4)
end

-- A reservation outlives its entitlement's terms when that was removed: it still frees the pool.
local function no_terms()
  local terms = {}
  for i = 1, @{terms_fields} do terms[i] = 0 end
  terms.state, terms.service_class, terms.bucket_size_micro = @{STATE_EXPIRED}, 2, @{UNLIMITED_MICRO}
  return terms
end

-- One settlement; changes mine, lease and pool in place. Returns its reply, then the entitlement's tail and the usage
-- event when it was settled just now.
local function settle_one(tag, pool, mine, tail, terms, lease, lease_key, arg, now)
  local status, event = 2, nil
  if lease.status <= @{EVICTED} then
    status = 1
    tail = touch_entitlement(mine, tail, terms.bucket_size_micro, terms.refill_milli, now)
    local outcome, source, actual = unpack_struct('<BBi8', arg)
    if actual < 0 then actual = lease.tokens end
    event = close(tag, pool, mine, terms, lease, lease_key, actual, outcome, source, @{SETTLED}, now, arg)
  end
  local charged = lease.charged_tokens
  return pack('@{settled}', status, charged, max(0, lease.tokens - charged), floor(lease.spilled_micro / MICRO),
    lease.overrun_tokens, floor(mine.bucket_micro / MICRO)), tail, event
end

local function read_terms(raw)
  return raw and {unpack_struct('@{terms}', raw)} or no_terms()
end

local function announce_release(tag, pool, now)
  if pool.wait_until_ms > now then call('PUBLISH', 'tp:release:' .. sub(tag, 5, -2), tostring(pool.use_seats)) end
end

-- KEYS and ARGV as of tp_reserve.
local function settle(keys, args)
  local tag = keys[1]
  local now = clock(tag)
  local values = call('MGET', unpack(keys))
  local pool = values[1] and {unpack_struct('@{pool}', values[1])}
  if #args == 1 then
    local lease_key = keys[4]
    if not pool or not values[4] then return UNKNOWN_LEASE end
    local mine, old_tail = read_entitlement(values[2])
    local lease = {unpack_struct('@{reservation}', values[4])}
    local reply, tail, event =
      settle_one(tag, pool, mine, old_tail, read_terms(values[3]), lease, lease_key, args[1], now)
    if event then
      call('XADD', tag .. ':usage', 'MAXLEN', '~', '@{USAGE_MAXLEN}', '*', 'e', event)
      call('MSET', keys[2], write_entitlement(mine, tail), lease_key, write_lease(lease), tag, write_pool(pool))
      announce_release(tag, pool, now)
    end
    return reply
  end
  local owner, n = args[1], #args - 1
  local first = #keys - n
  local replies, writes, latest = {}, {'MSET'}, {}
  local mines, tails, terms_of, dirty = {}, {}, {}, {}
  local events = nil
  for i = 1, n do
    local low, high = string.byte(owner, 2 * i - 1, 2 * i)
    local at = 2 + 2 * (low + 256 * high)
    local lease_key = keys[first + i]
    local raw = latest[lease_key] or values[first + i]
    if not pool or not raw then
      replies[i] = UNKNOWN_LEASE
    else
      local mine = mines[at]
      if not mine then
        mine, tails[at] = read_entitlement(values[at])
        mines[at], terms_of[at] = mine, read_terms(values[at + 1])
      end
      local lease = {unpack_struct('@{reservation}', raw)}
      local reply, tail, event =
        settle_one(tag, pool, mine, tails[at], terms_of[at], lease, lease_key, args[i + 1], now)
      replies[i] = reply
      if event then
        tails[at] = tail
        dirty[at] = true
        if not events then events = {'XADD', tag .. ':usage', 'MAXLEN', '~', '@{USAGE_MAXLEN}', '*'} end
        local e = #events
        events[e + 1], events[e + 2] = i, event
        local packed, w = write_lease(lease), #writes
        latest[lease_key] = packed
        writes[w + 1], writes[w + 2] = lease_key, packed
      end
    end
  end
  if events then
    call(unpack(events))
    for at in pairs(dirty) do
      local w = #writes
      writes[w + 1], writes[w + 2] = keys[at], write_entitlement(mines[at], tails[at])
    end
    announce_release(tag, pool, now)
    writes[#writes + 1] = tag
    writes[#writes + 1] = write_pool(pool)
    call(unpack(writes))
  end
  return concat(replies)
end

local function heartbeat(keys, args)
  local tag = keys[1]
  local now = clock(tag)
  local replies = {}
  for i = 1, #args do
    local size, lease_ms, streamed, at = unpack_struct('@{heartbeat}', args[i])
    local member = sub(args[i], at)
    local entry = sub(member, 1, size)
    local lease_key, entitlement_key = tag .. ':r:' .. member, tag .. ':e:' .. entry
    local values = call('MGET', lease_key, entitlement_key, tag .. ':c:' .. entry)
    local lease = values[1] and {unpack_struct('@{reservation}', values[1])}
    if not lease or lease.status > @{EVICTED} then
      replies[i] = pack('@{heartbeat_reply}', 0, lease and lease.expires_ms or 0)
    else
      lease.expires_ms = max(lease.expires_ms, now + lease_ms)
      local mine, tail = read_entitlement(values[2])
      local terms = values[3] and {unpack_struct('@{terms}', values[3])} or no_terms()
      tail = touch_entitlement(mine, tail, terms.bucket_size_micro, terms.refill_milli, now)
      if streamed > lease.streamed_tokens then
        local accrued = lease.worked_micro + lease.work_rate * (now - lease.worked_at_ms)
        mine.work_micro = (mine.work_micro + streamed * MICRO - accrued) % WRAP
        lease.worked_micro, lease.worked_at_ms, lease.streamed_tokens = streamed * MICRO, now, streamed
      end
      call('MSET', lease_key, write_lease(lease), entitlement_key, write_entitlement(mine, tail))
      replies[i] = pack('@{heartbeat_reply}', (lease.status == @{EVICTED}) and 3 or 1, lease.expires_ms)
    end
  end
  return concat(replies)
end
