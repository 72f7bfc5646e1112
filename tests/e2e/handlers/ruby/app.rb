# frozen_string_literal: true

# What the matrix of runtime clients invokes, in Ruby.
require 'json'
require 'logger'
require 'securerandom'
require 'stringio'

INSTANCE = SecureRandom.uuid
$calls = 0
$ticks = 0

class OrderRefused < StandardError
end

module Orders
  class Desk
    def self.take(event:, context:)
      { taken: event['order'] }
    end
  end
end

def echo(event:, context:)
  event
end

def nothing(event:, context:)
end

def length(event:, context:)
  event['text'].length
end

def repeat(event:, context:)
  'x' * event['times']
end

def throwing(event:, context:)
  raise ArgumentError, 'boom'
end

def custom(event:, context:)
  raise OrderRefused, 'order 7: ¡no! 😀'
end

def unserialisable(event:, context:)
  Float::NAN
end

def exit_zero(event:, context:)
  exit!(0)
end

def exit_one(event:, context:)
  exit!(1)
end

def leave(event:, context:)
  exit(7)
end

def killed(event:, context:)
  Process.kill(:KILL, Process.pid)
end

def hang(event:, context:)
  sleep(60) if event['hang']
  INSTANCE
end

def crash_sometimes(event:, context:)
  $calls += 1
  exit!(3) if event['crash']
  { instance: INSTANCE, calls: $calls }
end

def count(event:, context:)
  $calls += 1
  File.write('/tmp/calls', 'x', mode: 'a')
  { instance: INSTANCE, calls: $calls, kept: File.size('/tmp/calls') }
end

def busy(event:, context:)
  began = Process.clock_gettime(Process::CLOCK_REALTIME, :microsecond)
  sleep(0.3)
  ended = Process.clock_gettime(Process::CLOCK_REALTIME, :microsecond)
  { instance: INSTANCE, request: context.aws_request_id, began: began, ended: ended }
end

def context(event:, context:)
  {
    request_id: context.aws_request_id,
    name: context.function_name,
    version: context.function_version,
    arn: context.invoked_function_arn,
    memory: Integer(context.memory_limit_in_mb),
    log_group: context.log_group_name,
    log_stream: context.log_stream_name,
    remaining: context.get_remaining_time_in_millis,
    client: context.client_context && context.client_context['custom'],
  }
end

def environment(event:, context:)
  ENV.to_h.merge('PWD' => Dir.pwd)
end

def trace(event:, context:)
  ENV['_X_AMZN_TRACE_ID']
end

def ticking(event:, context:)
  if $calls.zero?
    Thread.new do
      loop do
        sleep(0.001)
        $ticks += 1
      end
    end
  end
  $calls += 1
  $ticks
end

def log(event:, context:)
  puts 'to standard output'
  warn 'to standard error'
  puts 'unicode: grüße 😀'
  puts 'y' * event['long'] if event['long']
  'logged'
end

def flood(event:, context:)
  line = "#{'z' * 1023}\n"
  event['kib'].times { $stderr.write(line) }
  'flooded'
end

def raw(event:, context:)
  StringIO.new('as it is')
end

def logger(event:, context:)
  Logger.new($stdout).warn('to a logger')
end
