import { spawnSync } from 'node:child_process';
import { appendFileSync, chownSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { EmbeddedServer, TemporaryDirectory } from '../../../src/testing';
import { withClient } from '../../../src/testing/with-client';

/** Enough that the standby finds what was written while it was being copied; it looks again soon for a primary that was away. */
const SETTINGS = { wal_keep_size: '256MB', wal_retrieve_retry_interval: '200ms' };
const NAME = 'standby';
const LIMIT_MS = 60_000;

/**
 * A primary and a synchronous hot standby: what the primary confirms, the standby has. The copy is made through SQL
 * (PostgreSQL manual, "Making a Base Backup Using the Low Level API"), since the embedded server has no pg_basebackup.
 *
 * ```ts
 * const servers = await ReplicatedServers.start();
 * await servers.failOver();      // the primary is gone for good, the standby takes writes
 * await servers.remove();
 * ```
 */
export class ReplicatedServers {
  #promoted = false;

  private constructor(
    public primary: EmbeddedServer,
    public standby: EmbeddedServer,
    private readonly folders: readonly [TemporaryDirectory, TemporaryDirectory],
    private readonly settings: Readonly<Record<string, string>>,
  ) {}

  /** The one that takes writes. */
  get writable(): EmbeddedServer {
    return this.#promoted ? this.standby : this.primary;
  }

  /** @param more settings of both */
  static async start(more: Readonly<Record<string, string>> = {}): Promise<ReplicatedServers> {
    const settings = { ...SETTINGS, ...more };
    const folders = [new TemporaryDirectory(), new TemporaryDirectory()] as const;
    try {
      const primary = await EmbeddedServer.start({ dataDirectory: folders[0].dataDirectory, settings });
      const backupLabel = await copy(primary, folders[1].dataDirectory);
      makeStandby(folders[1].dataDirectory, backupLabel, primary);
      const standby = await EmbeddedServer.start({ dataDirectory: folders[1].dataDirectory, settings });
      await makeSynchronous(primary);
      return new ReplicatedServers(primary, standby, folders, settings);
    } catch (error) {
      await Promise.all(folders.map((folder) => folder.remove()));
      throw error;
    }
  }

  /**
   * Kills the server that takes writes and starts it again, on the same port. Returns when its standby, if it still has
   * one, has caught up: what a crash has cut off before the standby had it is seen on the primary from its recovery on.
   */
  async crash(): Promise<void> {
    const { port } = this.writable;
    await this.writable.kill();
    const folder = this.folders[this.#promoted ? 1 : 0];
    const server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory, port, settings: this.settings });
    if (this.#promoted) this.standby = server;
    else await untilFollowed((this.primary = server));
  }

  /** The primary waits for its standby no more, or does so again. */
  async setSynchronous(synchronous: boolean): Promise<void> {
    await (synchronous ? makeSynchronous(this.primary) : makeAsynchronous(this.primary));
  }

  /** From now on the standby gets nothing that the primary writes, which does not wait for it any more. */
  async cutOff(): Promise<void> {
    await untilFollowed(this.primary);
    await this.setSynchronous(false);
    await withClient(this.standby.url, async (client) => {
      await client.query(`ALTER SYSTEM SET primary_conninfo = ''`);
      await client.query('SELECT pg_reload_conf()');
      while ((await client.query('SELECT FROM pg_stat_wal_receiver')).rowCount) await delay(50);
    });
  }

  /** Kills the standby and starts it again, on the same port. The primary must not wait for it. */
  async crashStandby(whileAway: () => Promise<unknown>): Promise<void> {
    const { port, dataDirectory } = this.standby;
    await this.standby.kill();
    await whileAway();
    this.standby = await EmbeddedServer.start({ dataDirectory, port, settings: this.settings });
  }

  /** Kills the primary, which never comes back, and has the standby take writes from then on. */
  async failOver(): Promise<void> {
    await this.primary.kill();
    await this.promote();
  }

  async promote(): Promise<void> {
    await withClient(this.standby.url, (client) => client.query('SELECT pg_promote(wait => true, wait_seconds => 60)'));
    this.#promoted = true;
  }

  /** Stops whatever runs, and removes the data. */
  async remove(): Promise<void> {
    await Promise.all(this.folders.map((folder) => folder.remove()));
  }
}

/** Copies the data of a server that runs. @returns what the copy needs as its backup_label */
async function copy(primary: EmbeddedServer, target: string): Promise<string> {
  // One session from beginning to end: the backup is abandoned when it ends.
  const session = new Client({ connectionString: primary.url });
  await session.connect();
  try {
    await session.query(`SELECT pg_backup_start('standby', fast => true)`);
    // Files that vanish meanwhile are no fault: recovery makes the copy consistent.
    spawnSync('cp', ['-a', primary.dataDirectory, target]);
    const sql = 'SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)';
    return (await session.query<{ labelfile: string }>(sql)).rows[0]!.labelfile;
  } finally {
    await session.end();
  }
}

function makeStandby(folder: string, backupLabel: string, primary: EmbeddedServer): void {
  for (const name of ['postmaster.pid', 'postmaster.opts']) rmSync(join(folder, name), { force: true });
  for (const { name, parentPath } of readdirSync(join(folder, 'pg_wal'), { withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  )) {
    rmSync(join(parentPath, name));
  }
  const { username, password, hostname, port } = new URL(primary.url);
  const conninfo = `host=${hostname} port=${port} user=${username} password=${password} application_name=${NAME}`;
  appendFileSync(join(folder, 'postgresql.auto.conf'), `\nprimary_conninfo = '${conninfo}'\n`);
  const { uid, gid } = statSync(folder);
  for (const [name, content] of [
    ['backup_label', backupLabel],
    ['standby.signal', ''],
  ] as const) {
    writeFileSync(join(folder, name), content, { mode: 0o600 });
    chownSync(join(folder, name), uid, gid);
  }
}

/**
 * Only now: the copy must not have the setting, or the promoted standby would wait for a standby of its own; and the
 * primary must not wait before there is one.
 */
async function makeSynchronous(primary: EmbeddedServer): Promise<void> {
  await withClient(primary.url, async (client) => {
    await client.query(`ALTER SYSTEM SET synchronous_standby_names = '${NAME}'`);
    await client.query('SELECT pg_reload_conf()');
  });
  await untilFollowed(primary);
}

async function makeAsynchronous(primary: EmbeddedServer): Promise<void> {
  await withClient(primary.url, async (client) => {
    await client.query('ALTER SYSTEM RESET synchronous_standby_names');
    await client.query('SELECT pg_reload_conf()');
  });
}

/** Waits until the standby has all that the primary has written so far, and is waited for from then on. */
async function untilFollowed(primary: EmbeddedServer): Promise<void> {
  await withClient(primary.url, async (client) => {
    const { rows } = await client.query<{ written: string }>('SELECT pg_current_wal_insert_lsn() AS written');
    const followed = `SELECT FROM pg_stat_replication WHERE sync_state = 'sync' AND flush_lsn >= $1`;
    for (const deadline = Date.now() + LIMIT_MS; ; await delay(50)) {
      if ((await client.query(followed, [rows[0]!.written])).rowCount) return;
      if (Date.now() > deadline) throw new Error('The standby does not follow its primary.');
    }
  });
}
