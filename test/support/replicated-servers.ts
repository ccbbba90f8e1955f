import { spawnSync } from 'node:child_process';
import { appendFileSync, chownSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { EmbeddedServer, TemporaryDirectory } from '../../src/testing';
import { withClient } from '../../src/testing/with-client';

/** Enough that the standby finds what was written while it was being copied. */
const SETTINGS = { wal_keep_size: '256MB' };
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
  private constructor(
    readonly primary: EmbeddedServer,
    readonly standby: EmbeddedServer,
    private readonly folders: readonly TemporaryDirectory[],
  ) {}

  static async start(): Promise<ReplicatedServers> {
    const folders = [new TemporaryDirectory(), new TemporaryDirectory()] as const;
    try {
      const primary = await EmbeddedServer.start({ dataDirectory: folders[0].dataDirectory, settings: SETTINGS });
      const backupLabel = await copy(primary, folders[1].dataDirectory);
      makeStandby(folders[1].dataDirectory, backupLabel, primary);
      const standby = await EmbeddedServer.start({ dataDirectory: folders[1].dataDirectory, settings: SETTINGS });
      await makeSynchronous(primary);
      return new ReplicatedServers(primary, standby, folders);
    } catch (error) {
      await Promise.all(folders.map((folder) => folder.remove()));
      throw error;
    }
  }

  /** Kills the primary, which never comes back, and has the standby take writes from then on. */
  async failOver(): Promise<void> {
    await this.primary.kill();
    await this.promote();
  }

  async promote(): Promise<void> {
    await withClient(this.standby.url, (client) => client.query('SELECT pg_promote(wait => true, wait_seconds => 60)'));
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
    for (const deadline = Date.now() + LIMIT_MS; ; await delay(50)) {
      const { rows } = await client.query<{ state: string }>('SELECT sync_state AS state FROM pg_stat_replication');
      if (rows.some(({ state }) => state === 'sync')) return;
      if (Date.now() > deadline) throw new Error('The standby does not follow its primary.');
    }
  });
}
