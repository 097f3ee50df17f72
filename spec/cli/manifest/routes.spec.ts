import { expect } from 'chai';
import { hostnameOf, planRoutes, type RouteWishes, routeOf } from '../../../lib/cli/manifest/routes.js';

const plan = (wishes: RouteWishes, routes: string[] = []) =>
  planRoutes(wishes, { name: 'My Shop', routes }, 'example.com', () => 0.5);

describe('the routes of a pushed app', () => {
  it('are one by its name for a new app, and stay as they are for an old one', () => {
    expect(plan({})).to.deep.equal(['my-shop.example.com']);
    expect(plan({}, ['old.example.com'])).to.equal(undefined);
  });

  it('are each host with each domain', () => {
    expect(plan({ hosts: ['a', 'b'], domains: ['x.com', 'y.com'] })).to.deep.equal([
      'a.x.com',
      'b.x.com',
      'a.y.com',
      'b.y.com',
    ]);
    expect(plan({ domains: ['x.com'] })).to.deep.equal(['my-shop.x.com']);
    expect(plan({ hasNoHostname: true, domains: ['x.com'] })).to.deep.equal(['x.com']);
    expect(plan({ path: 'v1/' })).to.deep.equal(['my-shop.example.com/v1']);
  });

  it('come to those that are there', () => {
    expect(plan({ hosts: ['new'] }, ['old.example.com'])).to.deep.equal(['old.example.com', 'new.example.com']);
    expect(plan({ routes: ['a.x.com', 'a.x.com', 'old.example.com'] }, ['old.example.com'])).to.deep.equal([
      'old.example.com',
      'a.x.com',
    ]);
    expect(plan({ hosts: ['old'] }, ['old.example.com'])).to.equal(undefined);
  });

  it('are none when none are wanted', () => {
    expect(plan({ hasNoRoute: true, hosts: ['a'] }, ['old.example.com'])).to.deep.equal([]);
  });

  it('have random words only for an app that has none', () => {
    expect(plan({ isRandom: true })).to.deep.equal(['my-shop-icy-island-500.example.com']);
    expect(plan({ isRandom: true }, ['old.example.com'])).to.equal(undefined);
    const [long] = planRoutes({ isRandom: true }, { name: 'x'.repeat(80), routes: [] }, 'example.com', () => 0.99)!;
    expect(long!.split('.')[0]).to.have.length.of.at.most(63);
  });

  it('have a host that a name allows', () => {
    expect(['A b', '--x--', '___', 'ä', `${'a'.repeat(62)}-b`].map(hostnameOf)).to.deep.equal([
      'a-b',
      'x',
      'app',
      'app',
      'a'.repeat(62),
    ]);
    expect(routeOf('*', 'x.com', '/p')).to.equal('*.x.com/p');
  });
});
