#!lua name=tokenpools
-- Admission and settlement inside the store. pools/mechanism/{admission,settlement,accrual,victims}.py say what it does and
-- why; tests compare the two bit for bit. Field names after mine, terms, pool and lease are array positions: library.py
-- writes the numbers, and the @{...} constants, from records.py. All keys derive from KEYS[1], the pool's hash tag.

-- The standard library cannot be reached while a library loads, only while a function runs: filled at the first call.
local floor, min, max, sub, find, concat, pack, unpack_struct, call
local NOBODY, EMPTY_TAIL, UNKNOWN, UNKNOWN_LEASE = {}, nil, nil, nil

local function prepare()
  floor, min, max = math.floor, math.min, math.max
  sub, find, concat = string.sub, string.find, table.concat
  pack, unpack_struct = struct.pack, struct.unpack
  EMPTY_TAIL = string.rep('\0', @{tail_bytes})
  UNKNOWN = pack('@{decision}', 0, 12, 0, 0, 0, @{STORE_WAIT_MS}, 0, 0, 0, 0, 0, 0, 0, 0, 0)
  UNKNOWN_LEASE = pack('@{settled}', 0, 0, 0, 0, 0, 0)
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
