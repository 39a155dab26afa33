#!lua name=tokenpools
-- Admission and settlement inside the store. pools/mechanism/{admission,settlement,accrual,victims}.py say what it does and
-- why; tests compare the two bit for bit. Field names after mine, terms, pool and lease are array positions: library.py
-- writes the numbers, and the @{...} constants, from records.py. All keys derive from KEYS[1], the pool's hash tag.

-- The standard library cannot be reached while a library loads, only while a function runs: filled at the first call.
local floor, min, max, sub, find, concat, pack, unpack_struct, call
local NOBODY, EMPTY_TAIL, UNKNOWN = {}, nil, nil

local function prepare()
  floor, min, max = math.floor, math.min, math.max
  sub, find, concat = string.sub, string.find, table.concat
  pack, unpack_struct = struct.pack, struct.unpack
  EMPTY_TAIL = string.rep('\0', @{tail_bytes})
  UNKNOWN = pack('@{decision}', 0, 12, 0, 0, 0, @{STORE_WAIT_MS}, 0, 0, 0, 0, 0, 0, 0, 0, 0)
  call = redis.call
end

local WRAP, MICRO, KV_UNIT = @{WRAP}, @{MICRO}, @{KV_UNIT}

local function clock(tag)
  if not call then prepare() end
  --@clock
end

-- Records ------------------------------------------------------------------------------------------------------------

local function read_entitlement(raw)
  if raw then
    return {unpack_struct('@{entitlement}', raw)}, sub(raw, @{entitlement_bytes} + 1)
  end
  local mine = {}
  for i = 1, @{entitlement_fields} do mine[i] = 0 end
  return mine, EMPTY_TAIL
end

local function write_entitlement(mine, tail)
  return pack('@{entitlement}', unpack(mine, 1, @{entitlement_fields})) .. tail
end

local function write_pool(pool)
  return pack('@{pool}', unpack(pool, 1, @{pool_fields}))
end

local function write_lease(lease)
  return pack('@{reservation}', unpack(lease, 1, @{reservation_fields}))
end

-- What passes with time (accrual.py) ---------------------------------------------------------------------------------

local function rotate(mine, tail, steps)
  local first = @{refused_bytes}
  local newest = string.rep(pack('<dd', mine.use_kv, mine.use_seats), steps - 1)
    .. pack('<dd', mine.current_kv, mine.current_seats)
  local slices = sub(newest .. sub(tail, first + 1, first + @{slices_bytes}), 1, @{slices_bytes})
  local flat = {unpack_struct('@{slices}', slices)}
  local kv, seats = 0, 0
  for i = 1, 2 * @{PEAK_SLICES}, 2 do
    kv = max(kv, flat[i])
    seats = max(seats, flat[i + 1])
  end
  mine.older_kv, mine.older_seats = kv, seats
  mine.current_kv, mine.current_seats = mine.use_kv, mine.use_seats
  return sub(tail, 1, first) .. slices .. sub(tail, first + @{slices_bytes} + 1)
end

local function touch_entitlement(mine, tail, size, refill, now)
  if mine.at_ms == 0 then
    mine.at_ms = now
    mine.bucket_micro, mine.minted_micro = size, size
    mine.peak_slice = floor(now / @{PEAK_SLICE_MS})
    return tail
  end
  local missing = size - mine.bucket_micro
  if missing < 0 then
    mine.bucket_micro = mine.bucket_micro + missing
    mine.spilled_micro = mine.spilled_micro - missing
  end
  local elapsed = now - mine.at_ms
  if elapsed <= 0 then return tail end
  mine.at_ms = now
  if missing > 0 then
    local gain = refill * elapsed
    if gain > missing then gain = missing end
    mine.bucket_micro = mine.bucket_micro + gain
    mine.minted_micro = mine.minted_micro + gain
  end
  if mine.use_seats > 0 or mine.work_rate > 0 or mine.use_kv > 0 then
    local span = elapsed
    if span > @{LONGEST_SPAN_MS} then span = @{LONGEST_SPAN_MS} end
    mine.integral_kv = (mine.integral_kv + floor(mine.use_kv / KV_UNIT) * span) % WRAP
    mine.integral_seats = (mine.integral_seats + mine.use_seats * span) % WRAP
    mine.work_micro = (mine.work_micro + mine.work_rate * elapsed) % WRAP
  end
  local present = floor(now / @{PEAK_SLICE_MS})
  if present > mine.peak_slice then
    tail = rotate(mine, tail, min(present - mine.peak_slice, @{PEAK_SLICES} + 1))
    mine.peak_slice = present
  end
  return tail
end

local function touch_pool(pool, now)
  local elapsed = now - pool.at_ms
  if elapsed <= 0 then return end
  if pool.at_ms > 0 then
    local span = elapsed
    if span > @{LONGEST_SPAN_MS} then span = @{LONGEST_SPAN_MS} end
    pool.integral_kv = (pool.integral_kv + floor(pool.use_kv / KV_UNIT) * span) % WRAP
    pool.integral_seats = (pool.integral_seats + pool.use_seats * span) % WRAP
  end
  pool.at_ms = now
end

local function rehold(pool, mine, terms)
  local kv, seats, strict = 0, 0, 0
  if terms.service_class <= @{CLASS_GUARANTEED} and terms.state == @{STATE_BOUND} then
    kv = max(0, terms.base_kv - mine.use_kv)
    seats = max(0, terms.base_seats - mine.use_seats)
    if terms.service_class == @{CLASS_DEDICATED} then
      strict = 1
    else
      local peak_kv = max(mine.current_kv, mine.older_kv) + terms.sequence_kv
      local peak_seats = max(mine.current_seats, mine.older_seats) + 1
      local recent_kv = max(0, min(terms.base_kv, peak_kv) - mine.use_kv)
      local recent_seats = max(0, min(terms.base_seats, peak_seats) - mine.use_seats)
      kv = kv - floor(terms.lend_percent * (kv - recent_kv) / 100)
      seats = seats - floor(terms.lend_percent * (seats - recent_seats) / 100)
    end
  elseif mine.hold_kv == 0 and mine.hold_seats == 0 then
    mine.hold_strict = 0
    return
  end
  pool.hold_kv = pool.hold_kv + kv - mine.hold_kv
  pool.hold_seats = pool.hold_seats + seats - mine.hold_seats
  if mine.hold_strict == 1 then
    pool.strict_hold_kv = pool.strict_hold_kv - mine.hold_kv
    pool.strict_hold_seats = pool.strict_hold_seats - mine.hold_seats
  end
  if strict == 1 then
    pool.strict_hold_kv = pool.strict_hold_kv + kv
    pool.strict_hold_seats = pool.strict_hold_seats + seats
  end
  mine.hold_kv, mine.hold_seats, mine.hold_strict = kv, seats, strict
end

-- Who gives way (victims.py) -----------------------------------------------------------------------------------------

local function before(a, b)
  if a.weight ~= b.weight then return a.weight < b.weight end
  if a.started ~= b.started then return a.started > b.started end
  return a.name < b.name
end

local function choose_victims(tag, need_kv, need_seats)
  local flat = call('HGETALL', tag .. ':v')
  local all = {}
  for i = 1, #flat, 2 do
    local kv, seats, weight, started = unpack_struct('<dddd', flat[i + 1])
    all[#all + 1] = {name = flat[i], kv = kv, seats = seats, weight = weight, started = started}
  end
  table.sort(all, before)
  local taken, kv, seats = {}, 0, 0
  for i = 1, #all do
    if kv >= need_kv and seats >= need_seats then break end
    local one = all[i]
    if (kv < need_kv and one.kv > 0) or (seats < need_seats and one.seats > 0) then
      taken[#taken + 1] = one
      kv, seats = kv + one.kv, seats + one.seats
    end
  end
  local enough = kv >= need_kv and seats >= need_seats
  if enough then
    for i = #taken, 1, -1 do
      local one = taken[i]
      if kv - one.kv >= need_kv and seats - one.seats >= need_seats then
        kv, seats = kv - one.kv, seats - one.seats
        table.remove(taken, i)
      end
    end
  end
  return taken, kv, seats, enough
end

local function evict(tag, pool, taken, kv, seats, latest, writes)
  local lines = {}
  for i = 1, #taken do
    local key = taken[i].name
    local raw = latest and latest[key] or call('GET', key)
    if raw then
      raw = pack('<d', @{EVICTED}) .. sub(raw, 9)
      if latest then latest[key] = raw end
      writes[#writes + 1] = key
      writes[#writes + 1] = raw
    end
    call('HDEL', tag .. ':v', key)
    lines[i] = sub(key, #tag + 4)
  end
  pool.use_kv, pool.use_seats = pool.use_kv - kv, pool.use_seats - seats
  pool.evictable_kv, pool.evictable_seats = pool.evictable_kv - kv, pool.evictable_seats - seats
  pool.evicting_kv, pool.evicting_seats = pool.evicting_kv + kv, pool.evicting_seats + seats
  pool.evicted = pool.evicted + #taken
  call('PUBLISH', 'tp:evict:' .. sub(tag, 5, -2), concat(lines, '\n'))
end

-- How long to wait (retry.py) ----------------------------------------------------------------------------------------

local function service_ms(pool)
  if pool.mean_service_us > 0 then return floor(pool.mean_service_us / 1000) end
  return @{DEFAULT_SERVICE_MS}
end

local function releases_wait(pool, releases, in_flight)
  return min(@{LONGEST_WAIT_MS}, floor(releases * service_ms(pool) / (in_flight + 1)))
end

local function releases_for(missing_kv, use_kv, in_flight)
  return 1 + floor(floor(missing_kv / KV_UNIT) * in_flight / max(1, floor(use_kv / KV_UNIT)))
end

-- Admission (admission.py) -------------------------------------------------------------------------------------------

local function contended(pool, kv, seats)
  local factor = 1
  if pool.contended == 1 then factor = 2 end
  return kv > pool.capacity_kv - factor * pool.margin_kv or seats > pool.capacity_seats - factor * pool.margin_seats
end

-- Steps 1 to 5. Returns code, dimension, use, limit, wait; nothing when the entitlement allows it.
local function own_limits(pool, mine, terms, tokens, kv, seats, now)
  if terms.state ~= @{STATE_BOUND} then
    local state = terms.state
    if state == @{STATE_EXPIRED} or (terms.valid_until_ms > 0 and terms.valid_until_ms <= now) then return 2, 0, 0, 0, 0 end
    if state == @{STATE_SUSPENDED} then return 1, 0, 0, 0, 0 end
    return (state == @{STATE_DEGRADED}) and 4 or 3, 0, 0, 0, @{NO_CAPACITY_WAIT_MS}
  end
  if terms.valid_until_ms > 0 and terms.valid_until_ms <= now then return 2, 0, 0, 0, 0 end
  local micro = tokens * MICRO
  if seats > terms.cap_seats then return 5, 3, seats, terms.cap_seats, 0 end
  if micro > terms.bucket_size_micro then return 5, 1, tokens, floor(terms.bucket_size_micro / MICRO), 0 end
  if kv > terms.cap_kv then return 5, 2, kv, terms.cap_kv, 0 end
  local over = mine.use_seats + seats - terms.cap_seats
  if over > 0 then return 6, 3, mine.use_seats, terms.cap_seats, releases_wait(pool, over, mine.use_seats) end
  if mine.bucket_micro < micro then
    local wait = @{LONGEST_WAIT_MS}
    if terms.refill_milli > 0 then wait = min(wait, -floor((mine.bucket_micro - micro) / terms.refill_milli)) end
    return 7, 1, floor(mine.bucket_micro / MICRO), floor(terms.bucket_size_micro / MICRO), wait
  end
  over = mine.use_kv + kv - terms.cap_kv
  if over > 0 then
    return 8, 2, mine.use_kv, terms.cap_kv,
      releases_wait(pool, releases_for(over, mine.use_kv, mine.use_seats), mine.use_seats)
  end
end

-- Steps 6 to 9. Returns contended, victims, kv and seats they free, then code, dimension, use, limit, wait of a refusal.
local function judge(tag, pool, mine, terms, kv, seats, now)
  local after_kv, after_seats = pool.use_kv + kv, pool.use_seats + seats
  local class = terms.service_class
  if class <= @{CLASS_GUARANTEED} and mine.use_kv + kv <= terms.base_kv and mine.use_seats + seats <= terms.base_seats then
    local need_kv, need_seats = after_kv - pool.capacity_kv, after_seats - pool.capacity_seats
    local taken, freed_kv, freed_seats = NOBODY, 0, 0
    if (need_kv > 0 and pool.evictable_kv > 0) or (need_seats > 0 and pool.evictable_seats > 0) then
      taken, freed_kv, freed_seats = choose_victims(tag, need_kv, need_seats)
    end
    return contended(pool, after_kv - freed_kv, after_seats - freed_seats), taken, freed_kv, freed_seats
  end
  if pool.ready_replicas <= 0 then return false, NOBODY, 0, 0, 10, 0, 0, 0, @{NO_CAPACITY_WAIT_MS} end
  local room_kv, room_seats = pool.capacity_kv - pool.draining_kv, pool.capacity_seats - pool.draining_seats
  if class == @{CLASS_PREEMPTIBLE} then
    room_kv, room_seats = room_kv - pool.strict_hold_kv, room_seats - pool.strict_hold_seats
  else
    room_kv = room_kv - pool.hold_kv + mine.hold_kv
    room_seats = room_seats - pool.hold_seats + mine.hold_seats
  end
  local need_kv, need_seats = after_kv - room_kv, after_seats - room_seats
  local taken, freed_kv, freed_seats = NOBODY, 0, 0
  if need_kv > 0 or need_seats > 0 then
    local enough = false
    if class < @{CLASS_PREEMPTIBLE} and need_kv <= pool.evictable_kv and need_seats <= pool.evictable_seats then
      taken, freed_kv, freed_seats, enough = choose_victims(tag, need_kv, need_seats)
    end
    if not enough or #taken == 0 then
      local flag = pool.contended == 1
      if need_seats > 0 then
        return flag, NOBODY, 0, 0, 9, 3, pool.use_seats, max(0, room_seats),
          releases_wait(pool, need_seats, pool.use_seats)
      end
      return flag, NOBODY, 0, 0, 9, 2, pool.use_kv, max(0, room_kv),
        releases_wait(pool, releases_for(need_kv, pool.use_kv, pool.use_seats), pool.use_seats)
    end
  end
  local tight = contended(pool, after_kv - freed_kv, after_seats - freed_seats)
  if tight then
    local dimension, use, limit
    if mine.use_seats + seats > terms.limit_seats then
      dimension, use, limit = 3, mine.use_seats, terms.limit_seats
    elseif mine.use_kv + kv > terms.limit_kv then
      dimension, use, limit = 2, mine.use_kv, terms.limit_kv
    end
    if dimension then
      local wait = max(0, pool.next_tick_ms - now) + floor(service_ms(pool) / (pool.use_seats + 1))
      return true, NOBODY, 0, 0, 11, dimension, use, limit, min(@{LONGEST_WAIT_MS}, wait)
    end
  end
  return tight, taken, freed_kv, freed_seats
end

-- One request. Returns its reply; then the entitlement's new record, and for an admitted one its lease, lease bucket and
-- (through pool, in place) the pool's new state. The last result tells whether the pool changed.
local function decide(tag, pool, hot, terms_raw, known, lease_key, arg, now, latest, writes)
  local mine, tail = read_entitlement(hot)
  local terms = {unpack_struct('@{terms}', terms_raw)}
  local size = terms.bucket_size_micro
  tail = touch_entitlement(mine, tail, size, terms.refill_milli, now)
  if known then
    local lease = {unpack_struct('@{reservation}', known)}
    local flags = 3
    if lease.status > @{EVICTED} then flags = 7 end
    if pool.contended == 1 then flags = flags + 8 end
    return pack('@{decision}', flags, 0, 0, 0, 0, 0, 0, 0, floor(mine.bucket_micro / MICRO), floor(size / MICRO),
      terms.refill_milli, mine.use_seats, terms.cap_seats, lease.expires_ms, lease.capacity_version)
  end
  local tokens, kv, seats, lease_ms, hold_ms, key_id, offer = unpack_struct('@{ask}', arg)
  local place = find(tail, offer, @{offers_at} + 1, true)
  local new_offer = not place or (place - 1 - @{offers_at}) % @{OFFER_TAG_BYTES} ~= 0
  if new_offer then mine.offered_tokens = (mine.offered_tokens + tokens) % WRAP end
  local tight, taken, freed_kv, freed_seats = pool.contended == 1, NOBODY, 0, 0
  local code, dimension, use, limit, wait = own_limits(pool, mine, terms, tokens, kv, seats, now)
  if not code then
    tight, taken, freed_kv, freed_seats, code, dimension, use, limit, wait = judge(tag, pool, mine, terms, kv, seats, now)
  end
  if code then
    local flags = tight and 8 or 0
    local streak = mine.streak
    local held, changed = hold_ms > 0 and (code == 9 or code == 11), false
    if held then
      flags = flags + 16
      if now + hold_ms > pool.wait_until_ms then
        pool.wait_until_ms = now + hold_ms
        changed = true
      end
    else
      mine.streak = min(streak + 1, @{LARGEST_STREAK})
    end
    local at = 8 * code
    local count = pack('<d', unpack_struct('<d', tail, at + 1) + (held and 0 or 1))
    if new_offer then
      tail = sub(tail, 1, at) .. count .. sub(tail, at + 9, @{offers_at}) .. sub(tail, @{offers_at} + @{OFFER_TAG_BYTES} + 1)
        .. offer
    else
      tail = sub(tail, 1, at) .. count .. sub(tail, at + 9)
    end
    return pack('@{decision}', flags, code, dimension, streak, 0, wait, use, limit, floor(mine.bucket_micro / MICRO),
      floor(size / MICRO), terms.refill_milli, mine.use_seats, terms.cap_seats, 0, pool.capacity_version),
      write_entitlement(mine, tail), nil, nil, changed
  end
  local micro = tokens * MICRO
  touch_pool(pool, now)
  local bucket_micro = mine.bucket_micro - micro
  mine.bucket_micro = bucket_micro
  mine.reserved_tokens = mine.reserved_tokens + tokens
  local use_kv, use_seats = mine.use_kv + kv, mine.use_seats + seats
  mine.use_kv, mine.use_seats = use_kv, use_seats
  if use_kv > mine.current_kv then mine.current_kv = use_kv end
  if use_seats > mine.current_seats then mine.current_seats = use_seats end
  mine.admitted = mine.admitted + 1
  mine.streak = 0
  local expected, service = mine.mean_charge_micro, mine.mean_service_us
  if expected == 0 or expected > micro then expected = micro end
  if service == 0 then service = pool.mean_service_us end
  service = floor(service / 1000)
  if service > 1 then expected = floor(expected / service) end
  local rate = expected
  if rate > @{LARGEST_RATE} then rate = @{LARGEST_RATE} end
  mine.work_rate = mine.work_rate + rate
  if #taken > 0 then evict(tag, pool, taken, freed_kv, freed_seats, latest, writes) end
  pool.use_kv, pool.use_seats = pool.use_kv + kv, pool.use_seats + seats
  local class, rank = terms.service_class, 0
  if class > @{CLASS_GUARANTEED} then rank = class - 1 end
  if rank == 3 then
    pool.evictable_kv, pool.evictable_seats = pool.evictable_kv + kv, pool.evictable_seats + seats
    call('HSET', tag .. ':v', lease_key, pack('<dddd', kv, seats, terms.weight_micro, now))
  end
  pool.contended = tight and 1 or 0
  pool.admitted = pool.admitted + 1
  local expires = now + lease_ms
  local bucket = floor(expires / @{LEASE_BUCKET_MS})
  if pool.reap_from == 0 or bucket < pool.reap_from then pool.reap_from = bucket end
  if rank == 0 or mine.hold_kv ~= 0 or mine.hold_seats ~= 0 then rehold(pool, mine, terms) end
  local version = pool.capacity_version
  return pack('@{decision}', tight and 9 or 1, 0, 0, 0, #taken, 0, 0, 0, floor(bucket_micro / MICRO), floor(size / MICRO),
    terms.refill_milli, use_seats, terms.cap_seats, expires, version),
    write_entitlement(mine, tail),
    pack('@{reservation}', @{LIVE}, tokens, kv, seats, now, expires, key_id, version, rate, 0, now, 0, rank, 0, 0, 0),
    bucket, true
end

local last_tag, last_bucket, last_key

-- The list of a lease bucket; most calls want the same one as the call before.
local function lease_list(tag, bucket)
  if bucket ~= last_bucket or tag ~= last_tag then
    last_tag, last_bucket, last_key = tag, bucket, tag .. ':x:' .. bucket
  end
  return last_key
end

local function reserve_one(tag, now, keys, arg)
  local entitlement_key, lease_key = keys[2], keys[4]
  local values = call('MGET', tag, entitlement_key, keys[3], lease_key)
  local pool_raw, terms_raw = values[1], values[3]
  if not pool_raw or not terms_raw then return UNKNOWN end
  local pool, writes = {unpack_struct('@{pool}', pool_raw)}, {}
  local reply, hot, lease, bucket, changed =
    decide(tag, pool, values[2], terms_raw, values[4], lease_key, arg, now, nil, writes)
  if lease then
    call('RPUSH', lease_list(tag, bucket), lease_key)
    call('MSET', entitlement_key, hot, lease_key, lease, tag, write_pool(pool), unpack(writes))
  elseif changed then
    call('MSET', entitlement_key, hot, tag, write_pool(pool))
  elseif hot then
    call('SET', entitlement_key, hot)
  end
  return reply
end

-- KEYS: the tag, then per request its entitlement, terms and reservation; ARGV: one packed ask each.
local function reserve(keys, args)
  local tag = keys[1]
  local now = clock(tag)
  local n = #args
  if n == 1 then return reserve_one(tag, now, keys, args[1]) end
  local values = call('MGET', unpack(keys))
  local pool = values[1] and {unpack_struct('@{pool}', values[1])}
  local replies, writes, latest = {}, {'MSET'}, {}
  local pool_changed, list, bucket_of_list = false, nil, nil
  for i = 1, n do
    local entitlement_key, lease_key = keys[3 * i - 1], keys[3 * i + 1]
    local terms_raw = values[3 * i]
    if not pool or not terms_raw then
      replies[i] = UNKNOWN
    else
      local reply, hot, lease, bucket, changed = decide(tag, pool, latest[entitlement_key] or values[3 * i - 1], terms_raw,
        latest[lease_key] or values[3 * i + 1], lease_key, args[i], now, latest, writes)
      replies[i] = reply
      if hot then
        latest[entitlement_key] = hot
        local w = #writes
        writes[w + 1], writes[w + 2] = entitlement_key, hot
        if lease then
          latest[lease_key] = lease
          writes[w + 3], writes[w + 4] = lease_key, lease
          if bucket ~= bucket_of_list then
            if list then call(unpack(list)) end
            list, bucket_of_list = {'RPUSH', lease_list(tag, bucket)}, bucket
          end
          list[#list + 1] = lease_key
        end
        pool_changed = pool_changed or changed
      end
    end
  end
  if list then call(unpack(list)) end
  if pool_changed then
    writes[#writes + 1] = tag
    writes[#writes + 1] = write_pool(pool)
  end
  if #writes > 1 then call(unpack(writes)) end
  return concat(replies)
end

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

-- One settlement. Returns its reply, then the entitlement's and the lease's new records and the usage event.
local function settle_one(tag, pool, hot, terms_raw, raw, lease_key, arg, now)
  if not pool or not raw then return pack('@{settled}', 0, 0, 0, 0, 0, 0) end
  local lease = {unpack_struct('@{reservation}', raw)}
  local mine, tail = read_entitlement(hot)
  local status, new_hot, new_lease, event = 2, nil, nil, nil
  if lease.status <= @{EVICTED} then
    status = 1
    local terms = terms_raw and {unpack_struct('@{terms}', terms_raw)} or no_terms()
    tail = touch_entitlement(mine, tail, terms.bucket_size_micro, terms.refill_milli, now)
    local outcome, source, actual = unpack_struct('<BBi8', arg)
    if actual < 0 then actual = lease.tokens end
    event = close(tag, pool, mine, terms, lease, lease_key, actual, outcome, source, @{SETTLED}, now, arg)
    new_hot, new_lease = write_entitlement(mine, tail), write_lease(lease)
  end
  local charged = lease.charged_tokens
  return pack('@{settled}', status, charged, max(0, lease.tokens - charged), floor(lease.spilled_micro / MICRO),
    lease.overrun_tokens, floor(mine.bucket_micro / MICRO)), new_hot, new_lease, event
end

local function settle(keys, args)
  local tag = keys[1]
  local now = clock(tag)
  local n = #args
  local values = call('MGET', unpack(keys))
  local pool = values[1] and {unpack_struct('@{pool}', values[1])}
  if n == 1 then
    local lease_key = keys[4]
    local reply, hot, lease, event = settle_one(tag, pool, values[2], values[3], values[4], lease_key, args[1], now)
    if event then
      call('XADD', tag .. ':usage', 'MAXLEN', '~', '@{USAGE_MAXLEN}', '*', 'e', event)
      call('MSET', keys[2], hot, lease_key, lease, tag, write_pool(pool))
      if pool.wait_until_ms > now then call('PUBLISH', 'tp:release:' .. sub(tag, 5, -2), tostring(pool.use_seats)) end
    end
    return reply
  end
  local replies, writes, latest = {}, {'MSET'}, {}
  local events = nil
  for i = 1, n do
    local entitlement_key, lease_key = keys[3 * i - 1], keys[3 * i + 1]
    local reply, hot, lease, event = settle_one(tag, pool, latest[entitlement_key] or values[3 * i - 1], values[3 * i],
      latest[lease_key] or values[3 * i + 1], lease_key, args[i], now)
    replies[i] = reply
    if event then
      if not events then events = {'XADD', tag .. ':usage', 'MAXLEN', '~', '@{USAGE_MAXLEN}', '*'} end
      events[#events + 1] = i
      events[#events + 1] = event
      latest[lease_key], latest[entitlement_key] = lease, hot
      local w = #writes
      writes[w + 1], writes[w + 2], writes[w + 3], writes[w + 4] = lease_key, lease, entitlement_key, hot
    end
  end
  if events then
    call(unpack(events))
    if pool.wait_until_ms > now then call('PUBLISH', 'tp:release:' .. sub(tag, 5, -2), tostring(pool.use_seats)) end
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

-- Leases that ran out ------------------------------------------------------------------------------------------------

-- The entitlement a reservation's key names.
local function entry_of(tag, lease_key)
  return sub(lease_key, #tag + 4, find(lease_key, ':', #tag + 4, true) - 1)
end

-- Handles one name of a due lease bucket: drop it when finished, move it when extended, else charge it.
local function reap_one(tag, pool, lease_key, now, events)
  local raw = call('GET', lease_key)
  if not raw then return 0 end
  local lease = {unpack_struct('@{reservation}', raw)}
  if lease.status > @{EVICTED} and lease.expires_ms <= now then
    call('DEL', lease_key)
    return 0
  end
  if lease.expires_ms > now then
    call('RPUSH', tag .. ':x:' .. floor(lease.expires_ms / @{LEASE_BUCKET_MS}), lease_key)
    return 0
  end
  local entry = entry_of(tag, lease_key)
  local entitlement_key = tag .. ':e:' .. entry
  local values = call('MGET', entitlement_key, tag .. ':c:' .. entry)
  local mine, tail = read_entitlement(values[1])
  local terms = values[2] and {unpack_struct('@{terms}', values[2])} or no_terms()
  tail = touch_entitlement(mine, tail, terms.bucket_size_micro, terms.refill_milli, now)
  local actual, source = lease.tokens, 2
  if lease.streamed_tokens > 0 then actual, source = lease.streamed_tokens, 1 end
  local arg = pack('@{settlement}', @{OUTCOME_EXPIRED}, source, actual, 0, 0, 0, 0, 0, 0, 0)
  events[#events + 1] = #events
  events[#events + 1] =
    close(tag, pool, mine, terms, lease, lease_key, actual, @{OUTCOME_EXPIRED}, source, @{EXPIRED}, now, arg)
  lease.expires_ms = now + @{REMEMBER_EXPIRED_MS}
  call('MSET', lease_key, write_lease(lease), entitlement_key, write_entitlement(mine, tail))
  call('RPUSH', tag .. ':x:' .. floor(lease.expires_ms / @{LEASE_BUCKET_MS}), lease_key)
  return 1
end

-- Returns {expired, examined, 1 when there is more}.
local function reap(keys, args)
  local tag = keys[1]
  local now = clock(tag)
  local most = tonumber(args[1])
  local raw = call('GET', tag)
  if not raw then return {0, 0, 0} end
  local pool = {unpack_struct('@{pool}', raw)}
  local due = floor(now / @{LEASE_BUCKET_MS}) - 1
  local bucket = pool.reap_from
  if bucket == 0 or bucket > due then return {0, 0, 0} end
  local events = {'XADD', tag .. ':usage', 'MAXLEN', '~', '@{USAGE_MAXLEN}', '*'}
  local expired, examined, steps = 0, 0, 0
  while bucket <= due and examined < most and steps < 5000 do
    local names = call('LPOP', tag .. ':x:' .. bucket, math.min(most - examined, 500))
    if not names or #names == 0 then
      bucket = bucket + 1
    else
      for i = 1, #names do
        expired = expired + reap_one(tag, pool, names[i], now, events)
      end
      examined = examined + #names
    end
    steps = steps + 1
  end
  pool.reap_from = bucket
  if expired > 0 then
    for first = 7, #events, 200 do
      call('XADD', tag .. ':usage', 'MAXLEN', '~', '@{USAGE_MAXLEN}', '*', unpack(events, first, math.min(first + 199, #events)))
    end
    if pool.wait_until_ms > now then call('PUBLISH', 'tp:release:' .. sub(tag, 5, -2), tostring(pool.use_seats)) end
  end
  call('SET', tag, write_pool(pool))
  return {expired, examined, bucket <= due and 1 or 0}
end

-- Control plane ------------------------------------------------------------------------------------------------------

-- args[1]: '' or the packed capacity fields of the pool and a first guess of its mean service time; args[2]: '' or rows
-- of six doubles (entitlement, then the limit fields of its terms).
local function tick(keys, args)
  local tag = keys[1]
  local now = clock(tag)
  local raw = call('GET', tag)
  local pool
  if raw then
    pool = {unpack_struct('@{pool}', raw)}
  else
    if args[1] == '' then return redis.error_reply('TPNOPOOL the pool is not configured') end
    pool = {}
    for i = 1, @{pool_fields} do pool[i] = 0 end
    pool.at_ms = now
  end
  local writes, latest = {'MSET'}, {}
  local rows = args[2]
  local row_bytes = 8 * (1 + @{limit_fields})
  local count = #rows / row_bytes
  if count > 0 then
    local fetch, ids = {'MGET'}, {}
    for i = 1, count do
      local id = unpack_struct('<d', rows, (i - 1) * row_bytes + 1)
      ids[i] = tag .. ':e:' .. id
      fetch[i + 1] = tag .. ':c:' .. id
    end
    local values = call(unpack(fetch))
    for i = 1, count do
      local old = values[i]
      if old then
        local at = (i - 1) * row_bytes
        local new = sub(old, 1, @{terms_limits_at}) .. sub(rows, at + 9, at + row_bytes)
        writes[#writes + 1] = fetch[i + 1]
        writes[#writes + 1] = new
        if unpack_struct('<d', new, 9) <= @{CLASS_GUARANTEED} then
          local terms = {unpack_struct('@{terms}', new)}
          local mine, tail = read_entitlement(call('GET', ids[i]))
          tail = touch_entitlement(mine, tail, terms.bucket_size_micro, terms.refill_milli, now)
          rehold(pool, mine, terms)
          writes[#writes + 1] = ids[i]
          writes[#writes + 1] = write_entitlement(mine, tail)
        end
      end
    end
  end
  if args[1] ~= '' then
    touch_pool(pool, now)
    local seed
    local capacity = {unpack_struct('@{capacity}', args[1])}
    for i = 1, @{capacity_fields} do pool[@{capacity_at} + i] = capacity[i] end
    seed = capacity[@{capacity_fields} + 1]
    if pool.mean_service_us == 0 then pool.mean_service_us = seed end
    local over_kv, over_seats = pool.use_kv - pool.capacity_kv, pool.use_seats - pool.capacity_seats
    if (over_kv > 0 and pool.evictable_kv > 0) or (over_seats > 0 and pool.evictable_seats > 0) then
      local taken, kv, seats = choose_victims(tag, over_kv, over_seats)
      if #taken > 0 then evict(tag, pool, taken, kv, seats, latest, writes) end
    end
    if pool.use_kv > pool.capacity_kv - pool.margin_kv or pool.use_seats > pool.capacity_seats - pool.margin_seats then
      pool.contended = 1
    elseif pool.use_kv <= pool.capacity_kv - 2 * pool.margin_kv
      and pool.use_seats <= pool.capacity_seats - 2 * pool.margin_seats then
      pool.contended = 0
    end
  end
  if pool.wait_until_ms > now then call('PUBLISH', 'tp:release:' .. sub(tag, 5, -2), tostring(pool.use_seats)) end
  writes[#writes + 1] = tag
  writes[#writes + 1] = write_pool(pool)
  call(unpack(writes))
  return 'OK'
end

-- args: per entitlement '<Bd' force flag and id, then its packed terms.
local function configure(keys, args)
  local tag = keys[1]
  local now = clock(tag)
  local raw = call('GET', tag)
  if not raw then return redis.error_reply('TPNOPOOL the pool is not configured') end
  local pool = {unpack_struct('@{pool}', raw)}
  for i = 1, #args do
    local force, id = unpack_struct('<Bd', args[i])
    local new = sub(args[i], 10)
    local key, terms_key = tag .. ':e:' .. id, tag .. ':c:' .. id
    local old = call('GET', terms_key)
    if old and force == 0 then new = sub(new, 1, @{terms_limits_at}) .. sub(old, @{terms_limits_at} + 1) end
    local terms = {unpack_struct('@{terms}', new)}
    local hot = call('GET', key)
    if hot or terms.service_class <= @{CLASS_GUARANTEED} then
      local mine, tail = read_entitlement(hot)
      tail = touch_entitlement(mine, tail, terms.bucket_size_micro, terms.refill_milli, now)
      rehold(pool, mine, terms)
      call('SET', key, write_entitlement(mine, tail))
    end
    call('SET', terms_key, new)
    if not old then call('SADD', tag .. ':ids', id) end
  end
  call('SET', tag, write_pool(pool))
  return #args
end

-- args: entitlement ids as text. With work in flight the records stay, refused as expired, until it has settled.
local function remove(keys, args)
  local tag = keys[1]
  local now = clock(tag)
  local raw = call('GET', tag)
  local pool = raw and {unpack_struct('@{pool}', raw)}
  for i = 1, #args do
    local key, terms_key = tag .. ':e:' .. args[i], tag .. ':c:' .. args[i]
    local hot, old = call('GET', key), call('GET', terms_key)
    call('SREM', tag .. ':ids', args[i])
    if old and hot and pool then
      local terms = {unpack_struct('@{terms}', old)}
      terms.state = @{STATE_EXPIRED}
      local mine, tail = read_entitlement(hot)
      tail = touch_entitlement(mine, tail, terms.bucket_size_micro, terms.refill_milli, now)
      rehold(pool, mine, terms)
      if mine.use_seats > 0 or mine.reserved_tokens > 0 then
        call('MSET', key, write_entitlement(mine, tail), terms_key, pack('@{terms}', unpack(terms, 1, @{terms_fields})))
      else
        call('DEL', key, terms_key)
      end
    elseif old then
      call('DEL', terms_key)
    end
  end
  if pool then call('SET', tag, write_pool(pool)) end
  return #args
end

-- Every lease not finished: name, packed reservation, name, ... args[1]: the first lease bucket to look at, 0 = known.
local function live(keys, args)
  local tag = keys[1]
  local now = clock(tag)
  local raw = call('GET', tag)
  local bucket = tonumber(args[1])
  if bucket == 0 and raw then
    local pool = {unpack_struct('@{pool}', raw)}
    bucket = pool.reap_from
  end
  local last = floor((now + @{LONGEST_LEASE_MS}) / @{LEASE_BUCKET_MS}) + 1
  local found, seen = {}, {}
  if bucket == 0 then return found end
  while bucket <= last do
    local names = call('LRANGE', tag .. ':x:' .. bucket, 0, -1)
    for i = 1, #names do
      if not seen[names[i]] then
        seen[names[i]] = true
        local lease = call('GET', names[i])
        if lease and unpack_struct('<d', lease) <= @{EVICTED} then
          found[#found + 1] = names[i]
          found[#found + 1] = lease
        end
      end
    end
    bucket = bucket + 1
  end
  return found
end

-- Make use, reserved tokens, holds and the index of preemptible work follow the live leases again. Returns how many live.
local function recount(keys, args)
  local tag = keys[1]
  local now = clock(tag)
  local raw = call('GET', tag)
  if not raw then return redis.error_reply('TPNOPOOL the pool is not configured') end
  local pool = {unpack_struct('@{pool}', raw)}
  local leases = live(keys, {args[1] or '0'})
  local sums = {}
  for _, field in ipairs({'use_kv', 'use_seats', 'evictable_kv', 'evictable_seats', 'evicting_kv', 'evicting_seats',
    'hold_kv', 'hold_seats', 'strict_hold_kv', 'strict_hold_seats'}) do
    pool[(@{pool_positions})[field]] = 0
  end
  call('DEL', tag .. ':v')
  local first = 0
  for i = 1, #leases, 2 do
    local lease = {unpack_struct('@{reservation}', leases[i + 1])}
    local entry = entry_of(tag, leases[i])
    local sum = sums[entry] or {0, 0, 0, 0}
    sums[entry] = sum
    sum[1], sum[2] = sum[1] + lease.tokens, sum[2] + lease.kv
    sum[3], sum[4] = sum[3] + lease.seats, sum[4] + lease.work_rate
    local bucket = floor(lease.expires_ms / @{LEASE_BUCKET_MS})
    if first == 0 or bucket < first then first = bucket end
    if lease.status == @{EVICTED} then
      pool.evicting_kv, pool.evicting_seats = pool.evicting_kv + lease.kv, pool.evicting_seats + lease.seats
    else
      pool.use_kv, pool.use_seats = pool.use_kv + lease.kv, pool.use_seats + lease.seats
      if lease.rank == 3 then
        pool.evictable_kv, pool.evictable_seats = pool.evictable_kv + lease.kv, pool.evictable_seats + lease.seats
        local terms_raw = call('GET', tag .. ':c:' .. entry)
        local weight = terms_raw and ({unpack_struct('@{terms}', terms_raw)})[@{terms_fields}] or 0
        call('HSET', tag .. ':v', leases[i], pack('<dddd', lease.kv, lease.seats, weight, lease.started_ms))
      end
    end
  end
  if first > 0 and (pool.reap_from == 0 or first < pool.reap_from) then pool.reap_from = first end
  for _, id in ipairs(call('SMEMBERS', tag .. ':ids')) do
    local values = call('MGET', tag .. ':e:' .. id, tag .. ':c:' .. id)
    if values[2] and (values[1] or sums[id]) then
      local terms = {unpack_struct('@{terms}', values[2])}
      local mine, tail = read_entitlement(values[1])
      tail = touch_entitlement(mine, tail, terms.bucket_size_micro, terms.refill_milli, now)
      local sum = sums[id] or {0, 0, 0, 0}
      mine.minted_micro = mine.minted_micro + (sum[1] - mine.reserved_tokens) * MICRO
      mine.reserved_tokens, mine.use_kv, mine.use_seats, mine.work_rate = sum[1], sum[2], sum[3], sum[4]
      mine.hold_kv, mine.hold_seats, mine.hold_strict = 0, 0, 0
      rehold(pool, mine, terms)
      call('SET', tag .. ':e:' .. id, write_entitlement(mine, tail))
    end
  end
  call('SET', tag, write_pool(pool))
  return #leases / 2
end

local function register(name, callback, flags)
  redis.register_function{function_name = name, callback = callback, flags = flags}
end

register('tp_reserve', reserve, {})
register('tp_settle', settle, {'allow-oom'})
register('tp_heartbeat', heartbeat, {'allow-oom'})
register('tp_reap', reap, {'allow-oom'})
register('tp_tick', tick, {})
register('tp_configure', configure, {})
register('tp_remove', remove, {'allow-oom'})
register('tp_live', live, {'no-writes'})
register('tp_recount', recount, {})
register('tp_version', function() return {@{LAYOUT}, @{BUILD}, '@{CLOCK}'} end, {'no-writes'})
register('tp_noop', function() return 0 end, {'no-writes'})
