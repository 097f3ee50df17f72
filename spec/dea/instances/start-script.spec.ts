import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  databaseUrl,
  formatLocalTime,
  stagingExports,
  systemExports,
  userExports,
  vcapServices,
} from '../../../lib/dea/instances/environment.js';
import { startScript } from '../../../lib/dea/instances/start-script.js';

const environment = {
  vcapApplication: { name: "it's", uris: ['web.example.com'], instance_id: 'stale' },
  applicationId: 'app-guid',
  instanceId: 'f2f0',
  instanceIndex: 2,
  services: [],
  memoryMb: 256,
  containerPort: 61001,
  hostPort: 61001,
  localIp: '10.0.16.7',
  startedAt: new Date(1458249850_000),
};

/** Runs a start script as bash would in the container; gives what the app's environment was. */
function run(script: string, home: string): Record<string, string> {
  const output = execFileSync('/bin/bash', { input: script, cwd: home, env: { PATH: process.env.PATH } });
  return Object.fromEntries(
    output
      .toString()
      .split('\0')
      .filter(Boolean)
      .map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  );
}

describe('the start script', () => {
  let home: string;

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'start-script-'));
    mkdirSync(join(home, 'app/.profile.d'), { recursive: true });
  });

  afterEach(() => rmSync(home, { recursive: true }));

  function environmentOfApp(entries: string[], command = 'env -0'): Record<string, string> {
    return run(
      startScript({ systemExports: systemExports(environment), userExports: userExports(entries), command }),
      home,
    );
  }

  it('gives the app all variables of the platform', () => {
    const seen = environmentOfApp([]);
    expect(seen).to.include({
      MEMORY_LIMIT: '256m',
      HOME: `${home}/app`,
      TMPDIR: `${home}/tmp`,
      VCAP_APP_HOST: '0.0.0.0',
      VCAP_APP_PORT: '61001',
      PORT: '61001',
      CF_INSTANCE_INDEX: '2',
      CF_INSTANCE_IP: '10.0.16.7',
      CF_INSTANCE_PORT: '61001',
      CF_INSTANCE_ADDR: '10.0.16.7:61001',
      CF_INSTANCE_PORTS: '[{"external":61001,"internal":61001}]',
      VCAP_SERVICES: '{}',
    });
    expect(seen).not.to.have.property('DATABASE_URL');
    expect(JSON.parse(seen.VCAP_APPLICATION!)).to.deep.equal({
      name: "it's",
      uris: ['web.example.com'],
      application_id: 'app-guid',
      instance_id: 'f2f0',
      instance_index: 2,
      host: '0.0.0.0',
      port: 61001,
      started_at: formatLocalTime(environment.startedAt),
      started_at_timestamp: 1458249850,
      start: formatLocalTime(environment.startedAt),
      state_timestamp: 1458249850,
    });
  });

  it('lets the shell expand what users write in their variables', () => {
    const seen = environmentOfApp([
      'Q=a"b$PORT',
      'FOO=bar',
      'D=$FOO-$HOME',
      'S=back\\slash \\\\two `echo sub` $(echo paren) \\$x !y',
      'B=x=y',
      'E=',
      'NOEQ',
      'N=two\nlines',
    ]);
    expect(seen).to.include({
      Q: 'a"b61001',
      D: `bar-${home}/app`,
      S: 'back\\slash \\two sub paren $x !y',
      B: 'x=y',
      E: '',
      NOEQ: '',
      N: 'two\nlines',
    });
  });

  it('goes on after a name that is no shell identifier', () => {
    expect(environmentOfApp(['1-bad=x', 'GOOD=yes'])).to.include({ GOOD: 'yes' });
  });

  it('sources .profile.d after the user variables', () => {
    writeFileSync(join(home, 'app/.profile.d/a.sh'), 'export FOO="profile of $FOO"');
    expect(environmentOfApp(['FOO=user'])).to.include({ FOO: 'profile of user' });
  });

  it('becomes the app itself, in the app directory, and notes its process id', () => {
    const output = execFileSync('/bin/bash', {
      input: startScript({ systemExports: '', userExports: '', command: 'echo "$$ $PWD"' }),
      cwd: home,
    });
    const [pid, directory] = output.toString().trim().split(' ');
    expect(readFileSync(join(home, 'run.pid'), 'utf8').trim()).to.equal(pid);
    expect(directory).to.equal(join(home, 'app'));
  });

  it('hands the command over as one word, expanded by the inner shell', () => {
    expect(environmentOfApp([], `X='a  b' Y="$PORT" env -0`)).to.include({ X: 'a  b', Y: '61001' });
  });

  it('runs the droplet’s own startup when there is no staging info', () => {
    writeFileSync(join(home, 'startup'), '#!/bin/sh\nexec env -0\n', { mode: 0o755 });
    const script = startScript({
      systemExports: systemExports(environment),
      userExports: userExports(['FOO=bar']),
      command: undefined,
    });
    expect(run(script, home)).to.include({ FOO: 'bar', PORT: '61001' });
  });

  it('runs the operator’s post_setup_hook before the app', () => {
    const script = startScript({ systemExports: '', userExports: '', command: 'env -0', postSetupHook: 'export H=1' });
    expect(run(script, home)).to.include({ H: '1' });
  });

  it('extracts a droplet first, with the rights that it has in the archive, when told to', () => {
    rmSync(join(home, 'app'), { recursive: true });
    mkdirSync(join(home, 'source/app'), { recursive: true });
    writeFileSync(join(home, 'source/app/seen'), '', { mode: 0o644 });
    const droplet = join(home, "it's a droplet.tgz");
    execFileSync('tar', ['-czf', droplet, '-C', join(home, 'source'), '.']);
    const script = startScript({ systemExports: '', userExports: '', command: 'stat -c %a seen; umask', droplet });
    const output = execFileSync('/bin/bash', { input: script, cwd: home, env: { PATH: process.env.PATH } });
    expect(output.toString()).to.equal('644\n0077\n');
  });

  it('ends with the status of an extraction that fails, before the app', () => {
    const script = startScript({ systemExports: '', userExports: '', command: 'touch begun', droplet: '/nowhere' });
    expect(() => execFileSync('/bin/bash', { input: script, cwd: home, stdio: 'pipe' })).to.throw();
    expect(readdirSync(join(home, 'app'))).to.deep.equal(['.profile.d']);
  });
});

describe('service variables', () => {
  it('keeps the white-listed keys that have a value', () => {
    const service = {
      name: 'db',
      label: 'p-mysql',
      tags: [],
      plan: null,
      plan_option: false,
      credentials: {},
      syslog_drain_url: 'syslog://l:514',
      vendor: 'secret',
    };
    expect(vcapServices([service])).to.deep.equal({
      'p-mysql': [{ name: 'db', label: 'p-mysql', tags: [], credentials: {}, syslog_drain_url: 'syslog://l:514' }],
    });
  });

  it('keeps services whose label is a name that every object knows', () => {
    const labels = ['constructor', '__proto__', 'constructor'];
    const all = JSON.stringify(vcapServices(labels.map((label, number) => ({ name: `s${number}`, label }))));
    expect(all).to.equal(
      '{"constructor":[{"name":"s0","label":"constructor"},{"name":"s2","label":"constructor"}],' +
        '"__proto__":[{"name":"s1","label":"__proto__"}]}',
    );
  });

  const urls: [uri: unknown, expected: string][] = [
    ["mysql://u:p'w@h:3306/d?x=1&y=2", "mysql2://u:p'w@h:3306/d?x=1&y=2"],
    ['mysql2://h', 'mysql2://h'],
    ['postgres://h', 'postgres://h'],
    ['postgresql://h', 'postgres://h'],
    ['db2://h', 'ibmdb://h'],
    ['informix://h', 'ibmdb://h'],
    ['mysql:x', 'mysql2:x'],
    ['jdbc:mysql:x', ''],
    ['MYSQL://h', ''],
    ['mysql', ''],
    ['constructor:x', ''],
    [42, ''],
  ];
  for (const [uri, expected] of urls) {
    it(`makes ${expected || 'nothing'} of the credential uri ${String(uri)}`, () => {
      const label = 'x';
      expect(databaseUrl([{ label }, { label, credentials: null }, { label, credentials: { uri } }])).to.equal(
        expected,
      );
    });
  }

  it('tells a staging its time and the app’s own memory', () => {
    const exports = stagingExports({
      vcapApplication: {},
      services: [],
      memoryMb: 256,
      stagingTimeoutSeconds: 900,
      entries: ['CF_STACK=bookworm'],
    });
    expect(exports).to.contain('export STAGING_TIMEOUT="900.0";').and.to.contain('export MEMORY_LIMIT="256m";');
    expect(exports).to.contain('export CF_STACK="bookworm";');
  });
});
