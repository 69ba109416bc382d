import { AICanvasProvider, useAIWebSocket } from 'ai-canvas-ws/react'
import { useState } from 'react'
import { ActivityIndicator, Button, ScrollView, Text, TextInput } from 'react-native'
import { client } from './client'
import { startJob } from './server'

const CONNECTION = {
  idle: 'Connecting',
  connecting: 'Connecting',
  connected: 'Connected',
  waiting: 'Connection lost, reconnecting',
  closed: 'Not connected'
}

export function JobScreen ({ sessionId }: { sessionId: string }) {
  return <AICanvasProvider client={client}><Job sessionId={sessionId} /></AICanvasProvider>
}

function Job ({ sessionId }: { sessionId: string }) {
  const { state, isConnected, aiStatus, aiText, aiError, cancel } = useAIWebSocket(sessionId)
  const [prompt, setPrompt] = useState('')
  const [failure, setFailure] = useState('')
  // Without a connection, the page can't know whether the job still runs
  const isRunning = isConnected && aiStatus === 'processing'

  return (
    <ScrollView>
      <Text>{CONNECTION[state]}</Text>
      <TextInput accessibilityLabel="Prompt" value={prompt} onChangeText={setPrompt} />
      <Button title="Start" disabled={isRunning} onPress={() => { void startJob(sessionId, prompt).then(setFailure) }} />
      <Button title="Stop" disabled={!isRunning} onPress={() => { cancel() }} />
      {isRunning && <ActivityIndicator accessibilityLabel="The job runs" />}
      <Text>{aiText}</Text>
      <Text accessibilityRole="alert">{failure || aiError?.message}</Text>
    </ScrollView>
  )
}
