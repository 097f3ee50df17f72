import { type Request, type Response, Router } from 'express';
import type { Credentials } from '../../../http/url.js';
import { ApiError } from '../../errors.js';
import type { OrderTaker } from '../../health/order-taker.js';
import type { AppStore } from '../../store/app-store.js';
import { requireBasicCredentials } from '../authentication.js';
import { parseJson, takeText } from '../json-body.js';

export interface OrderApiOptions {
  apps: AppStore;
  orders: OrderTaker;
  credentials: Credentials;
}

/** Where health managers of after 2016 give orders, with Basic authentication (docs/protocol/legacy-cc.md §6.2). */
export function orderApi({ apps, orders, credentials }: OrderApiOptions): Router {
  const router = Router();
  const body = takeText('64kb');

  const receive =
    (take: (order: unknown) => Promise<void>) => async (request: Request<{ guid: string }>, response: Response) => {
      const order = parseJson(request.body);
      const { guid } = request.params;
      if (!apps.find(guid)) throw new ApiError('ProcessNotFound', guid);
      await take(order);
      response.json({});
    };
  router.use('/internal/dea/hm9000', requireBasicCredentials(credentials, 'internal'));
  router.post(
    '/internal/dea/hm9000/start/:guid',
    body,
    receive((order) => orders.takeStart(order)),
  );
  router.post(
    '/internal/dea/hm9000/stop/:guid',
    body,
    receive((order) => orders.takeStop(order)),
  );
  return router;
}
