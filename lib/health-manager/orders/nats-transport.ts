import type { Bus } from '../../bus/bus.js';
import type { OrderTransport, StartOrder, StopOrder } from './transport.js';

export interface OrderSubjects {
  start: string;
  stop: string;
}

/** The bus is away; the order waits in the store, where it can still be checked, and not in the bus's memory. */
export class BusAwayError extends Error {
  constructor() {
    super('not connected to NATS');
  }
}

/** Orders as messages on the bus: one of the Cloud Controllers takes each, and none answers. */
export class NatsTransport implements OrderTransport {
  constructor(
    private readonly bus: Bus,
    private readonly subjects: OrderSubjects,
  ) {}

  async start(order: StartOrder): Promise<void> {
    this.#publish(this.subjects.start, order);
  }

  async stop(order: StopOrder): Promise<void> {
    this.#publish(this.subjects.stop, order);
  }

  #publish(subject: string, order: StartOrder | StopOrder): void {
    if (!this.bus.isConnected) throw new BusAwayError();
    this.bus.publish(subject, order);
  }
}
