import { expect } from 'chai';
import fastCheck from 'fast-check';
import { type Endpoint, registryMessageSchema } from '../../lib/router/messages.js';
import { addressOf, type Pool } from '../../lib/router/pool.js';
import { Registry, type RegistryOptions } from '../../lib/router/registry.js';

function endpoint(port: number, fields: Record<string, unknown> = {}): Endpoint {
  return registryMessageSchema.parse({ host: '10.0.0.1', port, ...fields }).endpoint;
}

/** Addresses in the order in which the pool offers them. */
function turns(pool: Pool, count: number): number[] {
  return Array.from({ length: count }, () => pool.select({ tried: new Set() })!.port);
}

describe('the routing table', () => {
  let nowMs: number;
  let registry: Registry;

  function makeRegistry(options: Partial<RegistryOptions> = {}): Registry {
    return new Registry({ staleThresholdSeconds: 120, clock: () => nowMs, random: () => 0, ...options });
  }

  const portAt = (host: string, path = '/') => registry.lookup(host, path)?.list()[0]?.port;

  beforeEach(() => {
    nowMs = 1_000_000;
    registry = makeRegistry();
  });

  describe('lookup', () => {
    it('ignores case, a trailing slash and the query of a registered uri', () => {
      registry.register('App.Example.com/Shop/?x=1', endpoint(1));
      expect(portAt('APP.example.COM', '/sHop/cart')).to.equal(1);
      expect(Object.keys(registry.describe())).to.deep.equal(['app.example.com/shop']);
    });

    it('takes the longest prefix on segment borders', () => {
      registry.register('h.io', endpoint(1));
      registry.register('h.io/foo', endpoint(2));
      registry.register('h.io/foo/bar', endpoint(3));
      expect(portAt('h.io', '/')).to.equal(1);
      expect(portAt('h.io', '/foo')).to.equal(2);
      expect(portAt('h.io', '/foo/')).to.equal(2);
      expect(portAt('h.io', '/foobar')).to.equal(1);
      expect(portAt('h.io', '/foo/bar/baz')).to.equal(3);
      expect(portAt('h.io', '/foo/barn')).to.equal(2);
    });

    it('does not decode the path', () => {
      registry.register('h.io/a%2Fb', endpoint(1));
      expect(portAt('h.io', '/a%2fb')).to.equal(1);
      expect(portAt('h.io', '/a/b')).to.equal(undefined);
    });

    it('lets a wildcard match any depth, and a longer name win against it even for a shorter path', () => {
      registry.register('*.b.io/path', endpoint(1));
      registry.register('*.io', endpoint(2));
      registry.register('x.b.io', endpoint(3));
      expect(portAt('y.b.io', '/path')).to.equal(1);
      expect(portAt('a.y.b.io', '/path/more')).to.equal(1);
      expect(portAt('y.b.io', '/')).to.equal(2);
      expect(portAt('x.b.io', '/path')).to.equal(3);
      expect(portAt('io', '/')).to.equal(undefined);
    });

    it('cuts labels off the host only, whatever dots the path has', () => {
      registry.register('*.html', endpoint(1));
      expect(portAt('h', '/index.html')).to.equal(undefined);
    });

    it('is not slowed down by paths and hosts made for that', () => {
      registry.register('h.io/a', endpoint(1));
      const startedMs = performance.now();
      expect(portAt('h.io', `/a${'/a'.repeat(500_000)}`)).to.equal(1);
      expect(portAt('a.'.repeat(500_000), '/')).to.equal(undefined);
      expect(performance.now() - startedMs).to.be.lessThan(500);
    });

    it('finds, as a property, what a plain search for the longest prefix finds', () => {
      const segment = fastCheck.constantFrom('a', 'b', 'c');
      const path = fastCheck.array(segment, { maxLength: 4 });
      fastCheck.assert(
        fastCheck.property(fastCheck.array(path, { maxLength: 8 }), path, (routes, asked) => {
          const table = makeRegistry();
          for (const [position, route] of routes.entries()) {
            table.register(['h', ...route].join('/'), endpoint(position + 1));
          }
          const fitting = routes.filter((route) => route.every((each, position) => asked[position] === each));
          const longest = Math.max(-1, ...fitting.map(({ length }) => length));
          const found = table.lookup('h', `/${asked.join('/')}`);
          const expected = longest < 0 ? undefined : ['', ...asked.slice(0, longest)].join('/') || '/';
          expect(found?.contextPath).to.equal(expected);
        }),
      );
    });
  });

  describe('registering', () => {
    it('replaces an endpoint with the same address', () => {
      expect(registry.register('h.io', endpoint(1, { app: 'old' }))).to.equal(true);
      expect(registry.register('h.io', endpoint(1, { app: 'new', private_instance_id: 'i' }))).to.equal(false);
      expect(
        registry
          .lookup('h.io', '/')!
          .list()
          .map(({ app }) => app),
      ).to.deep.equal(['new']);
    });

    it('takes route service and balancing from the latest registration', () => {
      registry.register('h.io', endpoint(1, { route_service_url: 'https://rs' }));
      expect(registry.lookup('h.io', '/')!.routeServiceUrl).to.equal('https://rs');
      registry.register('h.io', endpoint(2));
      expect(registry.lookup('h.io', '/')!.routeServiceUrl).to.equal('');
    });

    it('unregisters by uri and address alone, and forgets an emptied route', () => {
      registry.register('h.io', endpoint(1, { app: 'a' }));
      registry.register('other.io', endpoint(1));
      expect(registry.unregister('h.io', endpoint(2))).to.equal(false);
      expect(registry.unregister('unknown.io', endpoint(1))).to.equal(false);
      expect(registry.unregister('H.io/', endpoint(1, { app: 'b' }))).to.equal(true);
      expect(registry.lookup('h.io', '/')).to.equal(undefined);
      expect(portAt('other.io')).to.equal(1);
    });

    it('keeps an emptied route known for a while when it is told to, but prefers one with endpoints', () => {
      registry = makeRegistry({ emptyPoolSeconds: 10 });
      registry.register('h.io/a', endpoint(1));
      registry.unregister('h.io/a', endpoint(1));
      expect(registry.lookup('h.io', '/a')!.isEmpty).to.equal(true);
      registry.register('h.io', endpoint(2));
      expect(portAt('h.io', '/a')).to.equal(2);
      nowMs += 11_000;
      registry.prune();
      registry.unregister('h.io', endpoint(2));
      expect(registry.lookup('h.io', '/a/b')!.contextPath).to.equal('/');
      expect(registry.describe()).to.deep.equal({});
    });
  });

  describe('pruning', () => {
    it('drops what was not refreshed in time', () => {
      registry.register('h.io', endpoint(1));
      registry.register('h.io', endpoint(2));
      nowMs += 100_000;
      registry.register('h.io', endpoint(2));
      nowMs += 21_000;
      expect(registry.prune().map(({ uri, endpoint: each }) => [uri, each.port])).to.deep.equal([['h.io', 1]]);
      expect(portAt('h.io')).to.equal(2);
    });

    it('lets an endpoint shorten the threshold, not lengthen it', () => {
      registry.register('h.io', endpoint(1, { stale_threshold_in_seconds: 10 }));
      registry.register('h.io', endpoint(2, { stale_threshold_in_seconds: 1000 }));
      nowMs += 11_000;
      expect(registry.prune().map(({ endpoint: each }) => each.port)).to.deep.equal([1]);
      nowMs += 110_000;
      expect(registry.prune().map(({ endpoint: each }) => each.port)).to.deep.equal([2]);
    });

    it('never drops endpoints with TLS for their age', () => {
      registry.register('h.io', endpoint(1, { tls_port: 2 }));
      nowMs += 1_000_000;
      expect(registry.prune()).to.deep.equal([]);
      expect(portAt('h.io')).to.equal(2);
    });

    it('counts from the refresh of all after an outage', () => {
      registry.register('h.io', endpoint(1));
      nowMs += 200_000;
      registry.refreshAll();
      expect(registry.prune()).to.deep.equal([]);
    });
  });

  describe('choice', () => {
    it('goes round', () => {
      for (const port of [1, 2, 3]) registry.register('h.io', endpoint(port));
      const offered = turns(registry.lookup('h.io', '/')!, 6);
      expect(offered.slice(0, 3)).to.have.members([1, 2, 3]);
      expect(offered.slice(3)).to.deep.equal(offered.slice(0, 3));
    });

    it('leaves failed endpoints out for a time, and forgives all when all have failed', () => {
      for (const port of [1, 2]) registry.register('h.io', endpoint(port));
      const pool = registry.lookup('h.io', '/')!;
      pool.markFailed(endpoint(1), 30_000);
      expect(turns(pool, 3)).to.deep.equal([2, 2, 2]);
      nowMs += 30_000;
      expect(turns(pool, 2)).to.have.members([1, 2]);
      for (const port of [1, 2]) pool.markFailed(endpoint(port), 30_000);
      expect(turns(pool, 2)).to.have.members([1, 2]);
    });

    it('comes to a failed endpoint when the others were tried', () => {
      for (const port of [1, 2]) registry.register('h.io', endpoint(port));
      const pool = registry.lookup('h.io', '/')!;
      pool.markFailed(endpoint(1), 30_000);
      expect(pool.select({ tried: new Set([addressOf(endpoint(2))]) })!.port).to.equal(1);
    });

    it('prefers the endpoint with the fewest exchanges when the registration asks for it', () => {
      for (const port of [1, 2]) {
        registry.register('h.io', endpoint(port, { options: { loadbalancing: 'least-connection' } }));
      }
      const pool = registry.lookup('h.io', '/')!;
      const release = pool.begin(endpoint(1));
      expect(turns(pool, 3)).to.deep.equal([2, 2, 2]);
      pool.begin(endpoint(2));
      release();
      release();
      expect(turns(pool, 3)).to.deep.equal([1, 1, 1]);
    });

    it('offers no endpoint at its limit, and counts on when that is registered again', () => {
      registry = makeRegistry({ maximumConnections: 1 });
      registry.register('h.io', endpoint(1));
      const pool = registry.lookup('h.io', '/')!;
      const release = pool.begin(endpoint(1));
      registry.register('h.io', endpoint(1, { app: 'renewed' }));
      expect(pool.select({ tried: new Set() })).to.equal(undefined);
      release();
      expect(pool.select({ tried: new Set() })!.app).to.equal('renewed');
    });
  });

  it('describes itself as operators know it', () => {
    registry.register('a.io', endpoint(1, { availability_zone: 'z1', tags: { component: 'dea-0' } }));
    registry.register(
      'b.io/p',
      endpoint(1, {
        tls_port: 2,
        private_instance_id: 'i',
        server_cert_domain_san: 's',
        stale_threshold_in_seconds: 5,
        protocol: 'http2',
      }),
    );
    expect(JSON.stringify(registry.describe())).to.equal(
      JSON.stringify({
        'a.io': [
          {
            address: '10.0.0.1:1',
            availability_zone: 'z1',
            protocol: 'http1',
            tls: false,
            ttl: 120,
            tags: { component: 'dea-0' },
          },
        ],
        'b.io/p': [
          {
            address: '10.0.0.1:2',
            availability_zone: '',
            protocol: 'http1',
            tls: true,
            ttl: 5,
            tags: null,
            private_instance_id: 'i',
            server_cert_domain_san: 's',
          },
        ],
      }),
    );
  });
});
