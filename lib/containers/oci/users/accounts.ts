import { UnknownUserError } from '../../errors.js';

/** Who a process runs as. */
export interface Account {
  uid: number;
  gid: number;
  additionalGids: number[];
  /** `/` without an entry in the passwd file. */
  home: string;
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

const largestId = 0xfffffffe;

/**
 * Resolves `name`, `uid`, `name:group` or `uid:gid` against the contents of a container's passwd and group files.
 * Numbers need no entry, and `root` works without any (docs/protocol/containers.md §3.3).
 *
 * @throws UnknownUserError
 */
export function resolveAccount(user: string, passwdContent: string, groupContent: string): Account {
  const [userPart = '', groupPart] = user.split(':', 2);
  const groups = parseGroups(groupContent);
  const entry = findUser(userPart, parsePasswd(passwdContent));
  if (entry === undefined) throw new UnknownUserError(user);
  const gid = groupPart === undefined ? entry.gid : findGroup(groupPart, groups);
  if (gid === undefined) throw new UnknownUserError(user);
  const additionalGids = groups
    .filter((group) => entry.name !== '' && group.members.includes(entry.name) && group.gid !== gid)
    .map((group) => group.gid);
  return { uid: entry.uid, gid, additionalGids: [...new Set(additionalGids)], home: entry.home || '/' };
}

function findUser(user: string, entries: PasswdEntry[]): PasswdEntry | undefined {
  const byName = entries.find((entry) => entry.name === user);
  if (byName) return byName;
  if (user === 'root') return { name: 'root', uid: 0, gid: 0, home: '/root' };
  const uid = parseId(user);
  if (uid === undefined) return undefined;
  return entries.find((entry) => entry.uid === uid) ?? { name: '', uid, gid: 0, home: '/' };
}

function findGroup(group: string, entries: GroupEntry[]): number | undefined {
  return entries.find((entry) => entry.name === group)?.gid ?? parseId(group);
}

function parseId(text: string): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= largestId ? id : undefined;
}

function parsePasswd(content: string): PasswdEntry[] {
  return records(content).flatMap(([name, , uidText = '', gidText = '', , home]) => {
    const uid = parseId(uidText);
    const gid = parseId(gidText);
    return name && uid !== undefined && gid !== undefined ? [{ name, uid, gid, home: home ?? '' }] : [];
  });
}

function parseGroups(content: string): GroupEntry[] {
  return records(content).flatMap(([name, , gidText = '', members = '']) => {
    const gid = parseId(gidText);
    return name && gid !== undefined ? [{ name, gid, members: members.split(',').filter(Boolean) }] : [];
  });
}

function records(content: string): string[][] {
  return content.split('\n').map((line) => line.trim().split(':'));
}
