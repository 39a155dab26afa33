-- Control plane ------------------------------------------------------------------------------------------------------

-- args[1]: '' or the packed capacity fields of the pool and a first guess of its mean service time; args[2]: '' or rows
-- of six doubles (entitlement, then the limit fields of its terms); args[3]: when the next tick is due, or nothing.
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
    local promised, held = {'MGET'}, {}
    for i = 1, count do
      local old = values[i]
      if old then
        local at = (i - 1) * row_bytes
        local new = sub(old, 1, @{terms_limits_at}) .. sub(rows, at + 9, at + row_bytes)
        writes[#writes + 1] = fetch[i + 1]
        writes[#writes + 1] = new
        if unpack_struct('<d', new, 9) <= @{CLASS_GUARANTEED} then
          held[#held + 1] = new
          promised[#promised + 1] = ids[i]
        end
      end
    end
    if #held > 0 then
      local hot = call(unpack(promised))
      for i = 1, #held do
        local terms = {unpack_struct('@{terms}', held[i])}
        local mine, tail = read_entitlement(hot[i])
        tail = touch_entitlement(mine, tail, terms.bucket_size_micro, terms.refill_milli, now)
        rehold(pool, mine, terms)
        writes[#writes + 1] = promised[i + 1]
        writes[#writes + 1] = write_entitlement(mine, tail)
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
  if args[3] then pool.next_tick_ms = tonumber(args[3]) end
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

-- How far the sums are from the live leases they should follow: {live, pool sequences, pool KV bytes, sequences and
-- tokens over all entitlements}. The pool's are signed, the entitlements' add up without their signs.
local function drift(keys)
  local tag = keys[1]
  local raw = call('GET', tag)
  if not raw then return redis.error_reply('TPNOPOOL the pool is not configured') end
  local pool = {unpack_struct('@{pool}', raw)}
  local leases = live(keys, {'0'})
  local seats, kv, sums = 0, 0, {}
  for i = 1, #leases, 2 do
    local lease = {unpack_struct('@{reservation}', leases[i + 1])}
    local entry = entry_of(tag, leases[i])
    local sum = sums[entry] or {0, 0}
    sums[entry] = sum
    sum[1], sum[2] = sum[1] + lease.tokens, sum[2] + lease.seats
    seats, kv = seats + lease.seats, kv + lease.kv
  end
  for _, id in ipairs(call('SMEMBERS', tag .. ':ids')) do
    if not sums[id] then sums[id] = {0, 0} end
  end
  local off_seats, off_tokens = 0, 0
  for id, sum in pairs(sums) do
    local mine = read_entitlement(call('GET', tag .. ':e:' .. id))
    off_tokens = off_tokens + math.abs(mine.reserved_tokens - sum[1])
    off_seats = off_seats + math.abs(mine.use_seats - sum[2])
  end
  return {
    #leases / 2,
    pool.use_seats + pool.evicting_seats - seats,
    pool.use_kv + pool.evicting_kv - kv,
    off_seats,
    off_tokens,
  }
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
register('tp_drift', drift, {'no-writes'})
register('tp_version', function() return {@{LAYOUT}, @{BUILD}, '@{CLOCK}'} end, {'no-writes'})
register('tp_noop', function() return 0 end, {'no-writes'})
