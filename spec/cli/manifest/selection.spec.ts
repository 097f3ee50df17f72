import { expect } from 'chai';
import { applicationsOf, placeDocument } from '../../../lib/cli/manifest/merge.js';
import { parseManifest } from '../../../lib/cli/manifest/parse.js';
import { type AppOverrides, selectApps } from '../../../lib/cli/manifest/selection.js';

function select(manifest: string | undefined, overrides: AppOverrides) {
  if (manifest === undefined) return selectApps(undefined, overrides);
  return selectApps(applicationsOf(placeDocument(parseManifest('m.yml', manifest).document, '/here')), overrides);
}

const two = 'applications: [{name: a, memory: 1G}, {name: b}]';

describe('the apps that a push means', () => {
  it('are the named one without a manifest', () => {
    expect(select(undefined, { name: 'a', memory: 64 })).to.deep.equal([
      { name: 'a', memory: 64, env: {}, routing: {} },
    ]);
    expect(() => select(undefined, {})).to.throw('name an app, or give a manifest that does');
  });

  it('are all of a manifest, in their order', () => {
    expect(select(two, {}).map(({ name }) => name)).to.deep.equal(['a', 'b']);
  });

  it('are the one that is picked of several', () => {
    expect(select(two, { name: 'b', instances: 2 })).to.deep.equal([{ name: 'b', instances: 2, env: {}, routing: {} }]);
    expect(() => select(two, { name: 'c' })).to.throw('the manifest has no app named c; it has a, b');
  });

  it('are the only one of a manifest, under the name that is given', () => {
    expect(select('applications: [{name: a, memory: 1G}]', { name: 'copy' })).to.deep.equal([
      { name: 'copy', memory: 1024, env: {}, routing: {} },
    ]);
    expect(select('memory: 1G', { name: 'a' })).to.deep.equal([{ name: 'a', memory: 1024, env: {}, routing: {} }]);
    expect(() => select('memory: 1G', {})).to.throw('name an app');
  });

  it('cannot be several when an option is meant for one', () => {
    const options: AppOverrides[] = [
      { memory: 1 },
      { env: { A: '1' } },
      { routing: { hasNoRoute: true } },
      { path: '.' },
    ];
    for (const option of options)
      expect(() => select(two, option), JSON.stringify(option)).to.throw('name one of a, b');
    expect(select(two, { env: {}, routing: {} })).to.have.length(2);
  });

  it('cannot have the same name twice', () => {
    expect(() => select('applications: [{name: a}, {name: a}]', {})).to.throw('two apps named a');
  });

  it('have options before the manifest', () => {
    const manifest =
      'applications: [{name: a, path: p, memory: 1G, buildpack: x, command: run, env: {A: 1, B: 1}, timeout: 5}]';
    expect(select(manifest, { memory: 64, buildpack: null, path: 'q', env: { B: '2' } })).to.deep.equal([
      {
        name: 'a',
        path: 'q',
        memory: 64,
        buildpack: null,
        command: 'run',
        timeout: 5,
        env: { A: '1', B: '2' },
        routing: {},
      },
    ]);
    expect(select(manifest, {})[0]).to.include({ path: '/here/p', memory: 1024, buildpack: 'x' });
  });

  it('take disk and buildpack under their later names as well', () => {
    expect(select('applications: [{name: a, disk-quota: 1G, buildpacks: [x]}]', {})[0]).to.include({
      disk: 1024,
      buildpack: 'x',
    });
  });

  it('have hosts and domains of the command line in the place of those in the manifest', () => {
    const manifest =
      'applications: [{name: a, host: h, hosts: [i], domain: d.com, domains: [e.com], no-hostname: true}]';
    expect(select(manifest, {})[0]!.routing).to.deep.equal({
      hosts: ['h', 'i'],
      domains: ['d.com', 'e.com'],
      hasNoHostname: true,
    });
    expect(select(manifest, { routing: { hosts: ['z'] } })[0]!.routing).to.deep.equal({
      hosts: ['z'],
      domains: ['d.com', 'e.com'],
    });
    expect(select('applications: [{name: a, no-route: true, random-route: true}]', {})[0]!.routing).to.deep.equal({
      hasNoRoute: true,
      isRandom: true,
    });
  });

  it('do not mix whole routes with parts of routes', () => {
    const routes = 'routes: [{route: A.x.com/P}]';
    expect(select(`applications: [{name: a, ${routes}}]`, {})[0]!.routing).to.deep.equal({ routes: ['a.x.com/P'] });
    for (const part of ['host: h', 'domains: [d.com]', 'no-hostname: true']) {
      expect(() => select(`applications: [{name: a, ${routes}, ${part}}]`, {}), part).to.throw(
        'a: the manifest has routes',
      );
    }
    expect(() => select(`applications: [{name: a, ${routes}}]`, { routing: { hosts: ['h'] } })).to.throw(
      'options for host, domain and path cannot be used',
    );
    expect(select(`applications: [{name: a, ${routes}}]`, { routing: { hasNoRoute: true } })[0]!.routing).to.include({
      hasNoRoute: true,
    });
  });

  it('cannot have services, which are named in the refusal', () => {
    expect(() => select('applications: [{name: a, services: [db, mail]}]', {})).to.throw(
      'a: services cannot be bound, this Cloud Controller has none: db, mail',
    );
  });
});
