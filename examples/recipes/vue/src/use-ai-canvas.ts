import { createClient } from 'ai-canvas-ws/client'
import { computed, onScopeDispose, readonly, shallowRef, toValue, watch, type MaybeRefOrGetter } from 'vue'

// One connection for the whole page. It is opened by the first session that is followed
const client = createClient()

/** Returns the jobs of a session while the component is mounted. The session may change. */
export function useAICanvas (sessionId: MaybeRefOrGetter<string>) {
  const state = shallowRef(client.state)
  onScopeDispose(client.on('state', (change) => { state.value = change.state }))

  const session = shallowRef(client.jobStore(toValue(sessionId)).getSnapshot())
  watch(() => toValue(sessionId), (id, _before, onCleanup) => {
    onCleanup(client.jobStore(id).subscribe((snapshot) => { session.value = snapshot }))
  }, { immediate: true })

  return {
    state: readonly(state),
    /** The session's latest job. If there is none before `isKnown`, the session may still have one. */
    job: computed(() => session.value.latest),
    isKnown: computed(() => session.value.isKnown),
    cancel: () => { client.cancel(toValue(sessionId)) }
  }
}
