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
