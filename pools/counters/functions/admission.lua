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

-- One request; changes mine and pool in place. Returns its reply; then the entitlement's tail unless nothing changed,
-- whether the pool changed, and for an admitted one its lease and lease bucket.
local function decide(tag, pool, mine, tail, terms, known, lease_key, arg, now, latest, writes)
  local size = terms.bucket_size_micro
  if known then
    local bucket = mine.at_ms == 0 and size
      or min(size, mine.bucket_micro + max(0, now - mine.at_ms) * terms.refill_milli)
    local lease = {unpack_struct('@{reservation}', known)}
    local flags = 3
    if lease.status > @{EVICTED} then flags = 7 end
    if pool.contended == 1 then flags = flags + 8 end
    return pack('@{decision}', flags, 0, 0, 0, 0, 0, 0, 0, floor(bucket / MICRO), floor(size / MICRO),
      terms.refill_milli, mine.use_seats, terms.cap_seats, lease.expires_ms, lease.capacity_version)
  end
  tail = touch_entitlement(mine, tail, size, terms.refill_milli, now)
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
      floor(size / MICRO), terms.refill_milli, mine.use_seats, terms.cap_seats, 0, pool.capacity_version), tail, changed
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
    terms.refill_milli, use_seats, terms.cap_seats, expires, version), tail, true,
    pack('@{reservation}', @{LIVE}, tokens, kv, seats, now, expires, key_id, version, rate, 0, now, 0, rank, 0, 0, 0), bucket
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
  local mine, old_tail = read_entitlement(values[2])
  local reply, tail, changed, lease, bucket = decide(tag, pool, mine, old_tail, {unpack_struct('@{terms}', terms_raw)},
    values[4], lease_key, arg, now, nil, writes)
  if lease then
    call('RPUSH', lease_list(tag, bucket), lease_key)
    call('MSET', entitlement_key, write_entitlement(mine, tail), lease_key, lease, tag, write_pool(pool), unpack(writes))
  elseif changed then
    call('MSET', entitlement_key, write_entitlement(mine, tail), tag, write_pool(pool))
  elseif tail then
    call('SET', entitlement_key, write_entitlement(mine, tail))
  end
  return reply
end

-- KEYS: the tag; per entitlement of the call its state and terms; per request its reservation. ARGV: for one request its
-- packed ask; for several first which entitlement each is of (two bytes, from 0), then their asks.
local function reserve(keys, args)
  local tag = keys[1]
  local now = clock(tag)
  if #args == 1 then return reserve_one(tag, now, keys, args[1]) end
  local owner, n = args[1], #args - 1
  local first = #keys - n
  local values = call('MGET', unpack(keys))
  local pool = values[1] and {unpack_struct('@{pool}', values[1])}
  local replies, writes, latest = {}, {'MSET'}, {}
  local mines, tails, terms_of, dirty = {}, {}, {}, {}
  local pool_changed, list, bucket_of_list = false, nil, nil
  for i = 1, n do
    local low, high = string.byte(owner, 2 * i - 1, 2 * i)
    local at = 2 + 2 * (low + 256 * high)
    local lease_key = keys[first + i]
    local terms_raw = values[at + 1]
    if not pool or not terms_raw then
      replies[i] = UNKNOWN
    else
      local mine, terms = mines[at], terms_of[at]
      if not mine then
        mine, tails[at] = read_entitlement(values[at])
        terms = {unpack_struct('@{terms}', terms_raw)}
        mines[at], terms_of[at] = mine, terms
      end
      local reply, tail, changed, lease, bucket = decide(tag, pool, mine, tails[at], terms,
        latest[lease_key] or values[first + i], lease_key, args[i + 1], now, latest, writes)
      replies[i] = reply
      if tail then
        tails[at] = tail
        dirty[at] = true
        pool_changed = pool_changed or changed
        if lease then
          latest[lease_key] = lease
          local w = #writes
          writes[w + 1], writes[w + 2] = lease_key, lease
          if bucket ~= bucket_of_list then
            if list then call(unpack(list)) end
            list, bucket_of_list = {'RPUSH', lease_list(tag, bucket)}, bucket
          end
          list[#list + 1] = lease_key
        end
      end
    end
  end
  if list then call(unpack(list)) end
  for at in pairs(dirty) do
    local w = #writes
    writes[w + 1], writes[w + 2] = keys[at], write_entitlement(mines[at], tails[at])
  end
  if pool_changed then
    local w = #writes
    writes[w + 1], writes[w + 2] = tag, write_pool(pool)
  end
  if #writes > 1 then call(unpack(writes)) end
  return concat(replies)
end
