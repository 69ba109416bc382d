import { redirect } from 'next/navigation'
import { connection } from 'next/server'

/** Gives each visitor a session of their own, and names it in the address. */
export default async function Page () {
  // Without it Next.js renders the page once, when it builds, and all visitors share one session
  await connection()
  redirect(`/jobs/${crypto.randomUUID()}`)
}
