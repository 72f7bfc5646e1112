# frozen_string_literal: true

# Runs a Ruby function: asks the Runtime API for events and answers them.
#
# Standard library only. Behaves to the function as AWS's runtime client does: how handlers are named and
# called, the context object, the shapes and types of errors, what ends the process, the form of what
# `Logger` prints.

require 'json'
require 'logger'
require 'socket'
require 'stringio'

$stdout.sync = true

# What a handler gets beside its event.
class LambdaContext
  attr_reader :aws_request_id, :invoked_function_arn, :log_group_name, :log_stream_name, :function_name,
              :memory_limit_in_mb, :function_version, :identity, :tenant_id, :client_context, :deadline_ms

  def initialize(request)
    @deadline_ms = request['Lambda-Runtime-Deadline-Ms'].to_i
    @aws_request_id = request['Lambda-Runtime-Aws-Request-Id']
    @invoked_function_arn = request['Lambda-Runtime-Invoked-Function-Arn']
    @tenant_id = request['Lambda-Runtime-Aws-Tenant-Id']
    @log_group_name = ENV['AWS_LAMBDA_LOG_GROUP_NAME']
    @log_stream_name = ENV['AWS_LAMBDA_LOG_STREAM_NAME']
    @function_name = ENV['AWS_LAMBDA_FUNCTION_NAME']
    @memory_limit_in_mb = ENV['AWS_LAMBDA_FUNCTION_MEMORY_SIZE']
    @function_version = ENV['AWS_LAMBDA_FUNCTION_VERSION']
    @identity = parsed(request['Lambda-Runtime-Cognito-Identity'])
    @client_context = parsed(request['Lambda-Runtime-Client-Context'])
  end

  def get_remaining_time_in_millis
    [@deadline_ms - Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond), 0].max
  end
  alias remaining_time_in_millis get_remaining_time_in_millis

  private

  def parsed(json)
    JSON.parse(json) unless json.to_s.empty?
  end
end

module AwsLambda
  # How events and results are read and written. Functions may define these anew, as at AWS.
  class Marshaller
    class << self
      def marshall_request(request)
        request['Content-Type'] == 'application/json' ? JSON.parse(request.body) : request.body
      end

      # What can be read is the answer as it is.
      def marshall_response(result)
        case result
        when StringIO, IO then [result, 'application/unknown']
        else result.to_json
        end
      end
    end
  end
end

# What `_HANDLER` names: `file.method`, or `file.Class.method` with a class or module of any depth.
class LambdaHandler
  attr_reader :handler_file_name

  def initialize(name)
    parts = name.split('.')
    unless [2, 3].include?(parts.size)
      raise ArgumentError, "Invalid handler #{parts}, must be of form FILENAME.METHOD or FILENAME.CLASS.METHOD " \
                           'where FILENAME corresponds with an existing Ruby source file FILENAME.rb, CLASS is an ' \
                           'optional module/class namespace and METHOD is a callable method. If using CLASS, METHOD ' \
                           'must be a class-level method.'
    end
    @handler_file_name, *@of, @method = parts
  end

  def call_handler(event, context)
    # A method of no class is a private one of every object.
    receiver = @of.empty? ? self : Kernel.const_get(@of.first)
    receiver.__send__(@method, event: event, context: context)
  end
end

# What functions need not know of.
module Tidemill
  # The Runtime API over one connection that stays open. By hand rather than with `net/http`, which takes
  # longer to load than many functions to run: the other end always states the length of its body.
  class RuntimeApi
    PREFIX = '/2018-06-01/runtime/'

    # What came back: its headers by any spelling, and its body.
    class Answer
      attr_reader :body

      def initialize(headers, body)
        @headers = headers
        @body = body
      end

      def [](name)
        @headers[name.downcase]
      end
    end

    def initialize(address)
      @host = address
      host, _, port = address.rpartition(':')
      @socket = TCPSocket.new(host, Integer(port))
      @socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
    end

    def get(resource)
      send_all("GET #{PREFIX}#{resource} HTTP/1.1\r\nHost: #{@host}\r\n\r\n".b)
    end

    def post(resource, body, headers)
      lines = headers.map { |name, value| "#{name}: #{value}\r\n" }.join
      head = "POST #{PREFIX}#{resource} HTTP/1.1\r\nHost: #{@host}\r\nContent-Length: #{body.bytesize}\r\n#{lines}\r\n"
      send_all(head.b << body.b)
    end

    private

    def send_all(request)
      @socket.write(request)
      # The platform may have gone, and so must this process.
      @socket.gets("\r\n") || exit!(1)
      headers = {}
      until (line = @socket.gets("\r\n", chomp: true) || exit!(1)).empty?
        name, value = line.force_encoding(Encoding::UTF_8).split(':', 2)
        headers[name.downcase] = value.strip
      end
      body = @socket.read(headers['content-length'].to_i)
      Answer.new(headers, body.force_encoding(Encoding::UTF_8))
    end
  end

  # An error in AWS's shape.
  class Fault
    # AWS tells the platform the type of these alone.
    TOLD = %w[ArgumentError NoMethodError Exception StandardError NameError LoadError SystemExit SystemStackError].freeze
    FRAMES = 100

    def initialize(error, phase)
      @error = error
      @type = "#{phase}<#{error.class}>"
      # Those of this file are left out, and what called it.
      frames = error.backtrace || []
      @trace = frames.first(FRAMES).take_while { |frame| !frame.start_with?(__FILE__) }
    end

    def report(api, resource)
      told = TOLD.include?(@error.class.to_s) ? @type : 'Function<UserException>'
      api.post(resource, JSON.generate(shape), { 'Content-Type' => 'application/json', 'Lambda-Runtime-Function-Error-Type' => told })
    end

    def log(message)
      puts message, JSON.pretty_generate(shape)
    end

    private

    def shape
      { errorMessage: valid(@error.message), errorType: @type, stackTrace: @trace.map { |frame| valid(frame) } }
    end

    # JSON has no place for bytes that are no text.
    def valid(text)
      text.to_s.encode(Encoding::UTF_8, invalid: :replace, undef: :replace).scrub
    end
  end

  # What prints to standard output or error names the request.
  module NamesRequest
    FORMAT = '%<sev>s, [%<time>s #%<process>d] %<severity>5s %<request>s -- %<progname>s: %<message>s'

    class << self
      # The request that runs.
      attr_accessor :id
    end

    # A line as AWS's clients write it.
    class Formatter < Logger::Formatter
      def call(severity, time, progname, message)
        format("#{FORMAT}\n", sev: severity[0], time: format_datetime(time), process: Process.pid, severity: severity,
                              request: NamesRequest.id, progname: progname, message: msg2str(message))
      end
    end

    def initialize(logdev = nil, *arguments, formatter: nil, **settings)
      formatter ||= Formatter.new if [$stdout, $stderr].include?(logdev)
      super(logdev, *arguments, formatter: formatter, **settings)
    end
  end

  # Events one after another, to the end of the process.
  class Loop
    def initialize(api)
      @api = api
    end

    def run
      handler = load
      loop { serve_one(handler) }
    end

    private

    def load
      code = ENV.fetch('LAMBDA_TASK_ROOT')
      $LOAD_PATH.unshift(code) unless $LOAD_PATH.include?(code)
      handler = LambdaHandler.new(ENV.fetch('_HANDLER'))
      require handler.handler_file_name
      handler
    rescue Exception => error
      fault = Fault.new(error, 'Init')
      fault.log("Init error when loading handler #{ENV['_HANDLER']}")
      fault.report(@api, 'init/error')
      exit(252)
    end

    def serve_one(handler)
      request = @api.get('invocation/next')
      id = request['Lambda-Runtime-Aws-Request-Id']
      NamesRequest.id = id
      ENV['_X_AMZN_TRACE_ID'] = request['Lambda-Runtime-Trace-Id']
      begin
        body, type = result(handler, request)
      rescue Exception => error
        fail_one(id, error)
        return
      end
      # A refusal (a response that is too large, say) is the platform's to report.
      @api.post("invocation/#{id}/response", body, { 'Content-Type' => type || 'application/json' })
    end

    # How a result becomes JSON is the function's to say, and so are errors on the way.
    def result(handler, request)
      event = AwsLambda::Marshaller.marshall_request(request)
      body, type = AwsLambda::Marshaller.marshall_response(handler.call_handler(event, LambdaContext.new(request)))
      [type == 'application/unknown' ? body.read : body, type]
    end

    # As at AWS, a process is fit for more only after an ordinary error.
    def fail_one(id, error)
      ordinary = error.is_a?(StandardError) && !error.is_a?(NameError)
      fault = Fault.new(error, 'Function')
      fault.log(ordinary ? 'Error raised from handler method' : 'Critical exception from handler')
      fault.report(@api, "invocation/#{id}/error")
      exit(255) unless ordinary
    end
  end
end

Logger.prepend(Tidemill::NamesRequest)
Tidemill::Loop.new(Tidemill::RuntimeApi.new(ENV.fetch('AWS_LAMBDA_RUNTIME_API'))).run
