import { redirect } from 'next/navigation'
import { connection } from 'next/server'

/** Gives each visitor their own session, whose id is in the URL. */
export default async function Page () {
  // Without this call, Next.js renders the page once, at build time, and all visitors share one session
  await connection()
  redirect(`/jobs/${crypto.randomUUID()}`)
}
