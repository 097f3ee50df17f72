import { makeScript } from './connection.js';

/**
 * What Redis does in one piece each (docs/protocol/health-manager.md §3.4). KEYS[1] is the prefix of all keys, which has
 * a hash tag; ARGV[1] is the time in unix milliseconds, or empty for Redis's own: then all who share it agree on it,
 * whatever their clocks say.
 */
const prologue = `
local prefix, now = KEYS[1], tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function whole(number) return string.format('%.0f', number) end
`;

const instances = `
local everyInstance = prefix .. 'instances'
local deas = prefix .. 'deas'

-- DEA, state and '<app>,<version>' of an instance
local function parts(value)
  if not value then return end
  local dea, state, app = string.match(value, '^([^,]+),[^,]+,([^,]+),[^,]+,([^,]+,[^,]+)$')
  return dea, state, app
end

local function isPresent(dea)
  local expiry = redis.call('ZSCORE', deas, dea)
  return expiry and tonumber(expiry) > now
end

local function removeInstance(guid, app)
  redis.call('HDEL', everyInstance, guid)
  redis.call('HDEL', prefix .. 'app:' .. app, guid)
end

-- Removes what a DEA listed, but for what is in 'kept' and what another DEA has listed since.
local function removeListed(dea, kept)
  local list = redis.call('HGET', prefix .. 'dea:' .. dea, 'instances')
  for guid in string.gmatch(list or '', '[^,]+') do
    if not kept[guid] then
      local owner, _, app = parts(redis.call('HGET', everyInstance, guid))
      if owner == dea then removeInstance(guid, app) end
    end
  end
end

local function forgetDea(dea)
  removeListed(dea, {})
  redis.call('DEL', prefix .. 'dea:' .. dea)
  redis.call('ZREM', deas, dea)
end

-- Nobody is believed to be there for longer than the TTL: who is was saved before the clock was set back.
local function boundPresences(ttl)
  local limit = whole(now + ttl)
  local late = redis.call('ZRANGEBYSCORE', deas, '(' .. limit, '+inf', 'LIMIT', 0, 100)
  for _, dea in ipairs(late) do redis.call('ZADD', deas, limit, dea) end
end
`;

const orders = `
local withOrders = prefix .. 'with-orders'

local function ordersOf(app) return prefix .. 'orders:' .. app end

local function forgetIfEmpty(app)
  if redis.call('EXISTS', ordersOf(app)) == 0 then redis.call('SREM', withOrders, app) end
end
`;

/**
 * Renews the presence of DEAs that repeat themselves. A list has a name; when its DEA is gone, somebody else saved
 * another, or one of its instances was taken over, Redis does not have it under that name.
 *
 * ARGV: time, TTL in milliseconds, then DEA and name of its list in turn. Returns the DEAs that have to be read again.
 */
export const renewLists = makeScript(`${prologue}${instances}
boundPresences(ARGV[2])
local unknown = {}
for i = 3, #ARGV, 2 do
  local dea = ARGV[i]
  if isPresent(dea) and redis.call('HGET', prefix .. 'dea:' .. dea, 'list') == ARGV[i + 1] then
    redis.call('ZADD', deas, whole(now + ARGV[2]), dea)
  else
    unknown[#unknown + 1] = dea
  end
end
return unknown
`);

/**
 * Takes over the list of one DEA. One that loses instances by that gets another name: no name ever stands for two lists.
 *
 * ARGV: time, TTL in milliseconds, DEA, name of the list, illegible guids by commas, then guid and value in turn.
 * Returns the guids that began to evacuate.
 */
export const saveList = makeScript(`${prologue}${instances}
boundPresences(ARGV[2])
local dea, evacuating, listed, guids = ARGV[3], {}, {}, {}
local key = prefix .. 'dea:' .. dea
if not isPresent(dea) then forgetDea(dea) end

local function list(guid)
  if listed[guid] then return end
  listed[guid] = true
  guids[#guids + 1] = guid
end

for guid in string.gmatch(ARGV[5], '[^,]+') do
  if parts(redis.call('HGET', everyInstance, guid)) == dea then list(guid) end
end
for i = 6, #ARGV, 2 do
  local guid, value = ARGV[i], ARGV[i + 1]
  local before = redis.call('HGET', everyInstance, guid)
  local owner, stateBefore, appBefore = parts(before)
  local _, state, app = parts(value)
  list(guid)
  if before ~= value then
    if owner and owner ~= dea then
      if not isPresent(owner) then stateBefore = nil end
      local listOfOwner = prefix .. 'dea:' .. owner
      if redis.call('HEXISTS', listOfOwner, 'list') == 1 then
        redis.call('HSET', listOfOwner, 'list', 'before ' .. ARGV[4])
      end
    end
    if appBefore and appBefore ~= app then redis.call('HDEL', prefix .. 'app:' .. appBefore, guid) end
    redis.call('HSET', everyInstance, guid, value)
    if state == 'EVACUATING' and stateBefore ~= 'EVACUATING' and stateBefore ~= 'CRASHED' then
      evacuating[#evacuating + 1] = guid
    end
  end
  redis.call('HSET', prefix .. 'app:' .. app, guid, '')
end
removeListed(dea, listed)
redis.call('HSET', key, 'list', ARGV[4], 'instances', table.concat(guids, ','))
redis.call('ZADD', deas, whole(now + ARGV[2]), dea)
return evacuating
`);

/** Returns the DEAs that are present, and the names of their lists, in turn; an empty one where a quarantine took it. */
export const readListNames = makeScript(`${prologue}${instances}
local names = {}
for _, dea in ipairs(redis.call('ZRANGEBYSCORE', deas, '(' .. whole(now), '+inf')) do
  names[#names + 1] = dea
  names[#names + 1] = redis.call('HGET', prefix .. 'dea:' .. dea, 'list') or ''
end
return names
`);

/** ARGV: time, DEAs. Returns for each the name of its list, then guid and value of its instances in turn. */
export const readLists = makeScript(`${prologue}${instances}
local lists = {}
for i = 2, #ARGV do
  local listed = redis.call('HMGET', prefix .. 'dea:' .. ARGV[i], 'list', 'instances')
  local list = { listed[1] or '' }
  for guid in string.gmatch(listed[2] or '', '[^,]+') do
    local value = redis.call('HGET', everyInstance, guid)
    local owner = parts(value)
    -- A value that is not understood is shown, so that the reader can say so.
    if value and (owner == ARGV[i] or not owner) then
      list[#list + 1] = guid
      list[#list + 1] = value
    end
  end
  lists[#lists + 1] = list
end
return lists
`);

/** ARGV: time, how many at most. Forgets DEAs that are silent for too long. Returns how many it forgot. */
export const sweepDeas = makeScript(`${prologue}${instances}
local silent = redis.call('ZRANGEBYSCORE', deas, '-inf', whole(now), 'LIMIT', 0, ARGV[2])
for _, dea in ipairs(silent) do forgetDea(dea) end
return #silent
`);

/** ARGV: time, guids. Removes those whose DEA is not there, and does not come back to be swept. */
export const dropOrphans = makeScript(`${prologue}${instances}
for i = 2, #ARGV do
  local dea, _, app = parts(redis.call('HGET', everyInstance, ARGV[i]))
  if dea and not redis.call('ZSCORE', deas, dea) then removeInstance(ARGV[i], app) end
end
`);

/** ARGV: time, then '<app>,<version>'. Removes entries of instances that are gone or of another app. */
export const tidyApps = makeScript(`${prologue}${instances}
for i = 2, #ARGV do
  local key = prefix .. 'app:' .. ARGV[i]
  for _, guid in ipairs(redis.call('HKEYS', key)) do
    local _, _, app = parts(redis.call('HGET', everyInstance, guid))
    if app ~= ARGV[i] then redis.call('HDEL', key, guid) end
  end
end
`);

/**
 * ARGV: time, then '<app>,<version>'. Returns for each its desired state or nil, its instances as guid and value in
 * turn, its orders as field and value in turn, and the time.
 */
export const readApps = makeScript(`${prologue}${instances}${orders}
local apps = {}
for i = 2, #ARGV do
  local present = {}
  for _, guid in ipairs(redis.call('HKEYS', prefix .. 'app:' .. ARGV[i])) do
    local value = redis.call('HGET', everyInstance, guid)
    local dea, _, app = parts(value)
    -- A value that is not understood is shown, so that the reader can say so.
    if value and (not dea or (app == ARGV[i] and isPresent(dea))) then
      present[#present + 1] = guid
      present[#present + 1] = value
    end
  end
  local desired = redis.call('HGET', prefix .. 'desired', ARGV[i])
  apps[#apps + 1] = { desired, present, redis.call('HGETALL', ordersOf(ARGV[i])), whole(now) }
end
return apps
`);

/**
 * ARGV: time, TTL of crash counts in milliseconds, then '<app>,<version>', field and value in turn.
 */
export const saveOrders = makeScript(`${prologue}${orders}
for i = 3, #ARGV, 3 do
  local app, field, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if string.sub(field, 1, 6) == 'crash,' then value = value .. ',' .. whole(now + ARGV[2]) end
  redis.call('HSET', ordersOf(app), field, value)
  redis.call('SADD', withOrders, app)
end
`);

/**
 * ARGV: time, then '<app>,<version>', field, message id and new value (empty: delete) in turn. An order that has
 * another message id by now stays.
 */
export const commitOrders = makeScript(`${prologue}${orders}
for i = 2, #ARGV, 4 do
  local app, field, id, value = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local current = redis.call('HGET', ordersOf(app), field)
  if current and string.find(current, '"message_id":"' .. id .. '"', 1, true) then
    if value == '' then
      redis.call('HDEL', ordersOf(app), field)
      forgetIfEmpty(app)
    else
      redis.call('HSET', ordersOf(app), field, value)
    end
  end
end
`);

/** ARGV: time, seconds after which a sent order is of no use, then '<app>,<version>'. Drops those, and old crashes. */
export const tidyOrders = makeScript(`${prologue}${orders}
local function isOver(field, value)
  if string.sub(field, 1, 6) == 'crash,' then
    local expiry = tonumber(string.match(value, '^%d+,[%d.]+,(%d+)$'))
    return expiry and expiry <= now
  end
  local isRead, order = pcall(cjson.decode, value)
  if not isRead or type(order) ~= 'table' then return false end
  local sentOn, keepAlive = tonumber(order.sent_on), tonumber(order.keep_alive)
  return sentOn and keepAlive and sentOn > 0 and (sentOn + keepAlive + ARGV[2]) * 1000 <= now
end

for i = 3, #ARGV do
  local entries = redis.call('HGETALL', ordersOf(ARGV[i]))
  for j = 1, #entries, 2 do
    if isOver(entries[j], entries[j + 1]) then redis.call('HDEL', ordersOf(ARGV[i]), entries[j]) end
  end
  forgetIfEmpty(ARGV[i])
end
`);

/**
 * ARGV: time, TTL in milliseconds, 'anew' or nothing. Keeps a mark that there is, unless it is to begin anew, or begins
 * later than now: the clock was set back.
 */
export const bumpActual = makeScript(`${prologue}
local since, expiry = string.match(redis.call('GET', prefix .. 'actual-fresh') or '', '^(%d+),(%d+)$')
local isPast = since and (tonumber(expiry) <= now or tonumber(since) > now)
if not since or isPast or ARGV[3] == 'anew' then since = whole(now) end
redis.call('SET', prefix .. 'actual-fresh', since .. ',' .. whole(now + ARGV[2]))
`);

/**
 * ARGV: time, TTL in milliseconds, name of the new desired state, how many apps it has. Puts it in the place of the old
 * one, unless some of it was lost on the way. Returns whether it did.
 */
export const publishDesired = makeScript(`${prologue}
local draft, desired = prefix .. 'desired.new:' .. ARGV[3], prefix .. 'desired'
if redis.call('HLEN', draft) ~= tonumber(ARGV[4]) then return 0 end
if ARGV[4] == '0' then
  redis.call('DEL', desired)
else
  redis.call('RENAME', draft, desired)
  redis.call('PERSIST', desired)
end
redis.call('SET', prefix .. 'desired-fresh', whole(now) .. ',' .. whole(now + ARGV[2]) .. ',' .. ARGV[3])
return 1
`);

/** Returns both marks and the time. One that begins later than now is none: the clock was set back. */
export const readMarks = makeScript(`${prologue}
local function markOf(name)
  local mark = redis.call('GET', prefix .. name)
  local since = tonumber(string.match(mark or '', '^(%d+),'))
  return not (since and since > now) and mark
end
return { markOf('actual-fresh'), markOf('desired-fresh'), whole(now) }
`);

/** ARGV: time, app, milliseconds. */
export const holdApp = makeScript(`${prologue}
redis.call('ZADD', prefix .. 'holds', whole(now + ARGV[3]), ARGV[2])
`);

/** Lets go of holds that are over. Returns the apps of the others. */
export const readHolds = makeScript(`${prologue}
redis.call('ZREMRANGEBYSCORE', prefix .. 'holds', '-inf', whole(now))
return redis.call('ZRANGE', prefix .. 'holds', 0, -1)
`);

/**
 * Puts a value aside that nobody can read, and with it the belief in the state that it was part of: every agent and the
 * Cloud Controller have to say again what is so.
 *
 * ARGV: time, name of the hash, field, value, how many values are kept at most.
 */
export const quarantineValue = makeScript(`${prologue}${instances}
local name, field, value = ARGV[2], ARGV[3], ARGV[4]
if redis.call('HGET', prefix .. name, field) ~= value then return 0 end
if redis.call('HLEN', prefix .. 'quarantine') < tonumber(ARGV[5]) then
  redis.call('HSET', prefix .. 'quarantine', name .. ' ' .. field, value)
end
redis.call('HDEL', prefix .. name, field)
if name == 'desired' then redis.call('DEL', prefix .. 'desired-fresh') end
if name == 'instances' then
  redis.call('DEL', prefix .. 'actual-fresh')
  for _, dea in ipairs(redis.call('ZRANGE', deas, 0, -1)) do redis.call('HDEL', prefix .. 'dea:' .. dea, 'list') end
end
return 1
`);

/** ARGV: time, name of a key, type that it should have. Puts a key of another type aside, and believes nothing more. */
export const quarantineKey = makeScript(`${prologue}
local key = prefix .. ARGV[2]
local type = redis.call('TYPE', key).ok
if type == 'none' or type == ARGV[3] then return 0 end
redis.call('RENAME', key, prefix .. 'quarantined:' .. ARGV[2])
redis.call('DEL', prefix .. 'actual-fresh', prefix .. 'desired-fresh', prefix .. 'deas')
return 1
`);
