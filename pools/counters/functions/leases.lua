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
