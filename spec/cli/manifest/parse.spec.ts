import { expect } from 'chai';
import { parseManifest } from '../../../lib/cli/manifest/parse.js';

const parse = (text: string) => parseManifest('manifest.yml', text);
const application = (text: string) => parse(`applications:\n- name: shop\n${text}`).document.applications[0]!;

describe('a manifest', () => {
  it('is read with every key of an application', () => {
    const given = application(`
  buildpack: https://example.com/pack.git
  command: run --port \${PORT}
  disk_quota: 1G
  domain: Example.com
  domains: [other.example.com]
  env: {A: text, B: 1, C: true, D: "x=y", WHEN: 2001-12-14}
  health-check-type: process
  host: Shop
  hosts: [www]
  instances: 3
  memory: 256MB
  no-hostname: false
  no-route: false
  path: ./build
  random-route: true
  services: [db]
  stack: bookworm
  timeout: 90
`);
    expect(given).to.deep.equal({
      name: 'shop',
      buildpack: 'https://example.com/pack.git',
      command: `run --port \${PORT}`,
      disk_quota: 1024,
      domain: 'example.com',
      domains: ['other.example.com'],
      env: { A: 'text', B: '1', C: 'true', D: 'x=y', WHEN: '2001-12-14' },
      'health-check-type': 'none',
      host: 'shop',
      hosts: ['www'],
      instances: 3,
      memory: 256,
      'no-hostname': false,
      'no-route': false,
      path: './build',
      'random-route': true,
      services: ['db'],
      stack: 'bookworm',
      timeout: 90,
    });
  });

  it('takes a command or buildpack without a value, or default, for the way back to detection', () => {
    for (const value of ['', 'null', 'default', '"null"']) {
      expect(application(`  command: ${value}\n  buildpack: ${value}`)).to.include({ command: null, buildpack: null });
    }
  });

  it('may use anchors and merge keys', () => {
    const { document } = parse(`
defaults: &defaults {memory: 64M}
applications:
- {name: a, <<: *defaults}
`);
    expect(document.applications).to.deep.equal([{ name: 'a', memory: 64 }]);
  });

  it('is refused with the file and each faulty field', () => {
    const cases: [string, string][] = [
      ['  memory: much', 'applications[0].memory: Give it as 256M or 1G.'],
      ['  instances: -1', 'applications[0].instances: Give a whole number.'],
      ['  instances: [1]', 'applications[0].instances: must be a whole number'],
      ['  timeout: 0', 'applications[0].timeout: must be more than 0'],
      ['  env: {A: [1]}', 'applications[0].env.A: must be text, a number, true or false'],
      ['  env: {A: }', 'applications[0].env.A: must be text, a number, true or false'],
      ['  env: {a-b: x}', 'applications[0].env.a-b: must be a name of a variable'],
      ['  host: a.b', 'applications[0].host: must be one part of a host name'],
      [`  host: shop-\${random-word}`, `applications[0].host: properties such as \${random-word} are not supported`],
      [
        '  health-check-type: http',
        'applications[0].health-check-type: health checks over HTTP are not supported; use port',
      ],
      ['  health-check-type: magic', 'applications[0].health-check-type: must be port, process or none'],
      ['  routes: [{route: "tcp.example.com:1234"}]', 'applications[0].routes[0].route: TCP routes are not supported'],
      [
        '  routes: [{route: "http://a.example.com"}]',
        'applications[0].routes[0].route: must be host.domain[/path], without http://',
      ],
      ['  docker: {image: x}', 'applications[0].docker: Docker images are not supported'],
      ['  buildpacks: [a, b]', 'applications[0].buildpacks: more than one buildpack is not supported'],
    ];
    for (const [line, problem] of cases) {
      expect(() => application(line), line).to.throw(`manifest.yml: ${problem}`);
    }
    expect(() => application('  memory: much\n  disk_quota: 0')).to.throw(
      'manifest.yml: applications[0].disk_quota: Give it as 256M or 1G.; applications[0].memory: Give it as',
    );
  });

  it('is refused when it is no YAML, or no mapping', () => {
    expect(() => parse('a: [')).to.throw(/^manifest\.yml: .*\(2:1\)|^manifest\.yml: /);
    for (const text of ['', '- a', 'text']) {
      expect(() => parse(text), text).to.throw('manifest.yml: expected a mapping with the key applications');
    }
  });

  it('warns of keys that nobody knows, and tells what was meant', () => {
    expect(
      parse('memroy: 1G\napplications:\n- name: a\n  routes: [{route: a.b, port: 1}]\n  x: 1').warnings,
    ).to.deep.equal([
      'manifest.yml: memroy: unknown key (did you mean memory?)',
      'manifest.yml: applications[0].routes[0].port: unknown key',
      'manifest.yml: applications[0].x: unknown key',
    ]);
    expect(parse('applications: [{name: a, env: {ANY: 1}}]').warnings).to.deep.equal([]);
  });
});
