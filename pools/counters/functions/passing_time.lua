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
