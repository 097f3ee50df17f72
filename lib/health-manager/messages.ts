/** Subjects that health managers listen to or publish on (docs/protocol/health-manager.md §2, §6.4, §8.2, §9). */
export const subjects = {
  heartbeat: 'dea.heartbeat',
  advertise: 'dea.advertise',
  dropletExited: 'droplet.exited',
  appState: 'app.state',
  appStateBulk: 'app.state.bulk',
  componentAnnounce: 'vcap.component.announce',
  componentDiscover: 'vcap.component.discover',
  routerStart: 'router.start',
  routerRegister: 'router.register',
  routerUnregister: 'router.unregister',
  healthStart: 'health.start',
  healthStop: 'health.stop',
  healthManagerStart: 'healthmanager.start',
  healthManagerStatus: 'healthmanager.status',
  healthManagerHealth: 'healthmanager.health',
} as const;

/** Queue group of those who answer questions of Cloud Controllers: one of them does. */
export const answeringQueue = 'hm9000';
