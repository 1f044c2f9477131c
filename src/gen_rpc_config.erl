%% SPDX-License-Identifier: Apache-2.0
%% @doc The settings: names, defaults, what is allowed. Read and checked at start and when asked to,
%% and kept as a persistent term, so that reading one costs a caller no copy and no message.
%% What each of them means is in <a href="SETTINGS.html">Settings</a>.
-module(gen_rpc_config).

-export([load/1, reload/1, unload/0, get/1, policy/0, format/1]).
-export([cookie/0, connection/1, target/1, uses/1]).
-export([fixed/0]).

-define(KEY, ?MODULE).

-define(MAX_TIMEOUT, 16#FFFFFFFE). % the driver keeps times as 32-bit milliseconds
-define(MAX_COOKIE, 1020). % an atom: 255 characters of at most 4 bytes
-define(MIB, (1024 * 1024)).

-define(IS_TLS(Setting), (Setting =:= ssl_server_options orelse Setting =:= ssl_client_options)).

%% Bytes queued on one connection from which on senders wait. Several times what a socket takes at
%% once, so that it never starves, and little beside one large message.
-define(OUTPUT_LIMIT, 4 * ?MIB).

%% The value of a cookie is shown as `hidden'.
-type reason() :: {invalid_setting, atom(), Value :: term(), Allowed :: string()}
                | {unknown_setting, atom(), Known :: [atom()]}
                | {restart_needed, [atom()]}
                | gen_rpc_tls_options:reason().
-type driver() :: tcp | ssl.
-export_type([reason/0, driver/0]).

%% Key, default, check, what is allowed in words.
settings() ->
    [{tcp_server_port, 5369, fun is_server_port/1, "0..65535 or false (0: any free port)"},
     {tcp_client_port, 5369, fun is_port_number/1, "1..65535"},
     {ssl_server_port, false, fun is_server_port/1, "0..65535 or false (0: any free port)"},
     {ssl_client_port, 5370, fun is_port_number/1, "1..65535"},
     %% What is in them is gen_rpc_tls_options' to say.
     {ssl_server_options, [], fun(_) -> true end, ""},
     {ssl_client_options, [], fun(_) -> true end, ""},
     {default_client_driver, tcp, fun is_driver/1, "tcp or ssl"},
     {client_config_per_node, {internal, #{}}, fun is_client_config/1,
      "{internal, #{Node => Driver | Port | {Driver, Port}}}, Driver tcp or ssl, Port in 1..65535"},
     {secret_cookie, undefined, fun is_cookie/1,
      "an atom, a string or a binary of 1..1020 bytes, or undefined for the node's cookie"},
     timeout(connect_timeout, 5000),
     timeout(authentication_timeout, 5000),
     timeout(send_timeout, 5000),
     timeout(call_receive_timeout, 15000),
     timeout(sbcast_receive_timeout, 15000),
     timeout(client_inactivity_timeout, infinity),
     timeout(server_inactivity_timeout, infinity),
     timeout(async_call_inactivity_timeout, infinity),
     integer(socket_keepalive_idle, 5, 1, 32767, "seconds"),
     integer(socket_keepalive_interval, 5, 1, 32767, "seconds"),
     integer(socket_keepalive_count, 2, 1, 127, "probes"),
     integer(keepalive_interval, 60, 1, 4294967, "seconds"),
     integer(max_message_size, 512 * ?MIB, 1024, 16#FFFFFFFF, "bytes"),
     integer(max_connections, 10000, 1, 16#FFFFFFFF, "connections"),
     {max_concurrent_calls, infinity, fun is_concurrency/1, "calls and casts, 1..4294967295, or "
      "infinity"},
     {cast_overload_policy, block, fun is_policy/1, "block, drop or error"},
     {kill_on_cancel, false, fun is_boolean/1, "true or false"},
     {rpc_module_control, disabled, fun is_module_control/1, "disabled, whitelist or blacklist"},
     {rpc_module_list, [], fun is_list_of_atoms/1, "a list of atoms, the names of modules"},
     {fun_code_shipping, false, fun is_boolean/1, "true or false"},
     integer(compress, 0, 0, 9, "level"),
     integer(compression_threshold, 1024, 1, 16#FFFFFFFF, "bytes"),
     {compress_context, false, fun is_boolean/1, "true or false"}].

timeout(Key, Default) ->
    {Key, Default, fun is_timeout/1, "milliseconds (1..4294967294) or infinity"}.

integer(Key, Default, Min, Max, Unit) ->
    {Key, Default,
     fun(V) -> is_integer(V) andalso V >= Min andalso V =< Max end,
     lists:flatten(io_lib:format("~s, ~b..~b", [Unit, Min, Max]))}.

%% What a running application does not look at again: its sockets are open, its files are read.
%% @private
-spec fixed() -> [atom()].
fixed() ->
    [tcp_server_port, ssl_server_port, ssl_server_options, ssl_client_options, max_connections].

%% Checks the application's environment and makes it the settings in force.
%% @private
-spec load([{atom(), term()}]) -> ok | {error, reason()}.
load(Env) ->
    case check(Env) of
        {ok, Checked} -> in_force(Checked);
        Error -> Error
    end.

%% The same, of an application that runs.
%% @private
-spec reload([{atom(), term()}]) -> ok | {error, reason()}.
reload(Env) ->
    case check(Env) of
        {ok, Checked} ->
            case [Key || Key <- fixed(), map_get(Key, Checked) =/= ?MODULE:get(Key)] of
                [] -> in_force(Checked);
                Changed -> {error, {restart_needed, Changed}}
            end;
        Error ->
            Error
    end.

in_force(#{rpc_module_control := Control, rpc_module_list := Modules} = Checked) ->
    persistent_term:put(?KEY, Checked#{module_policy => gen_rpc_policy:new(Control, Modules)}).

check(Env) ->
    Settings = settings(),
    Given = maps:remove(included_applications, maps:from_list(Env)),
    case maps:keys(maps:without([Key || {Key, _, _, _} <- Settings], Given)) of
        [] ->
            check(Settings, Given, #{});
        [Unknown | _] ->
            {error, {unknown_setting, Unknown, lists:sort([Key || {Key, _, _, _} <- Settings])}}
    end.

check([{Key, Default, Check, Allowed} | Rest], Given, Acc) ->
    Value = maps:get(Key, Given, Default),
    case Check(Value) of
        true -> check(Rest, Given, Acc#{Key => Value});
        false when Key =:= secret_cookie -> {error, {invalid_setting, Key, hidden, Allowed}};
        false -> {error, {invalid_setting, Key, Value, Allowed}}
    end;
check([], _Given, Acc) ->
    case check_tls([{client, uses(ssl, Acc)},
                    {server, maps:get(ssl_server_port, Acc) =/= false}], Acc) of
        ok -> {ok, Acc};
        Error -> Error
    end.

%% Options of TLS are checked if they are needed or given.
check_tls([{Role, Needed} | Rest], Acc) ->
    case maps:get(gen_rpc_tls_options:setting(Role), Acc) of
        [] when not Needed ->
            check_tls(Rest, Acc);
        Options ->
            case gen_rpc_tls_options:check(Role, Options) of
                {ok, _} -> check_tls(Rest, Acc);
                Error -> Error
            end
    end;
check_tls([], _Acc) ->
    ok.

%% @private
-spec unload() -> ok.
unload() ->
    _ = persistent_term:erase(?KEY),
    ok.

%% @doc A setting's value; its default while the application does not run.
-spec get(atom()) -> term().
get(Key) ->
    case persistent_term:get(?KEY, #{}) of
        #{Key := Value} -> Value;
        #{} -> element(2, lists:keyfind(Key, 1, settings()))
    end.

%% What may run here.
%% @private
-spec policy() -> gen_rpc_policy:t().
policy() ->
    case persistent_term:get(?KEY, #{}) of
        #{module_policy := Policy} -> Policy;
        #{} -> disabled
    end.

%% @doc In words, why a start or {@link gen_rpc:reconfigure/0} has refused the settings.
-spec format(reason()) -> string().
format({_, {Setting, _}, _} = Reason) when ?IS_TLS(Setting) ->
    gen_rpc_tls_options:format(Reason);
format({_, {Setting, _}, _, _} = Reason) when ?IS_TLS(Setting) ->
    gen_rpc_tls_options:format(Reason);
format({invalid_setting, Key, Value, Allowed}) ->
    lists:flatten(io_lib:format("~s is ~0tp, must be ~s", [Key, Value, Allowed]));
format({restart_needed, Keys}) ->
    Names = lists:join(", ", [atom_to_list(Key) || Key <- Keys]),
    lists:flatten(io_lib:format("changed, but read at start only: ~s", [Names]));
format({unknown_setting, Key, Known}) ->
    Names = lists:join(", ", [atom_to_list(K) || K <- Known]),
    lists:flatten(io_lib:format("unknown setting ~0tp; the settings are ~s", [Key, Names])).

%% The cookie that both sides of a connection must know. A node without one proves nothing.
%% @private
-spec cookie() -> {ok, binary()} | none.
cookie() ->
    case ?MODULE:get(secret_cookie) of
        undefined ->
            case erlang:get_cookie() of
                nocookie -> none;
                Cookie -> {ok, atom_to_binary(Cookie)}
            end;
        Cookie ->
            {ok, cookie_bytes(Cookie)}
    end.

%% Settings of one connection as the driver takes them; `none' without a cookie.
%% @private
-spec connection(client | server) -> {ok, gen_rpc_port:connection()} | none.
connection(Role) ->
    case cookie() of
        {ok, Cookie} -> {ok, connection(Role, Cookie)};
        none -> none
    end.

connection(Role, Cookie) ->
    Idle = case Role of
               client -> client_inactivity_timeout;
               server -> server_inactivity_timeout
           end,
    {MaxRunning, TellCancels} = workers(Role),
    #{name => atom_to_binary(node()),
      cookie => Cookie,
      authentication_timeout => ?MODULE:get(authentication_timeout),
      send_timeout => ?MODULE:get(send_timeout),
      keepalive_interval => 1000 * ?MODULE:get(keepalive_interval),
      idle_timeout => ?MODULE:get(Idle),
      output_limit => ?OUTPUT_LIMIT,
      max_message_size => ?MODULE:get(max_message_size),
      max_running => MaxRunning,
      tell_cancels => TellCancels,
      compress => ?MODULE:get(compress),
      compress_context => ?MODULE:get(compress_context),
      compression_threshold => ?MODULE:get(compression_threshold),
      socket_keepalive => {?MODULE:get(socket_keepalive_idle),
                           ?MODULE:get(socket_keepalive_interval),
                           ?MODULE:get(socket_keepalive_count)}}.

%% Only the side that accepts has workers.
workers(client) -> {infinity, false};
workers(server) -> {?MODULE:get(max_concurrent_calls), ?MODULE:get(kill_on_cancel)}.

%% How to reach a node.
%% @private
-spec target(node()) -> {driver(), inet:port_number()}.
target(Node) ->
    {internal, PerNode} = ?MODULE:get(client_config_per_node),
    case PerNode of
        #{Node := {Driver, Port}} -> {Driver, Port};
        #{Node := Port} when is_integer(Port) -> {?MODULE:get(default_client_driver), Port};
        #{Node := Driver} -> {Driver, client_port(Driver)};
        #{} -> default_target(?MODULE:get(default_client_driver))
    end.

default_target(Driver) -> {Driver, client_port(Driver)}.

client_port(tcp) -> ?MODULE:get(tcp_client_port);
client_port(ssl) -> ?MODULE:get(ssl_client_port).

%% Whether a node may be called by this driver.
%% @private
-spec uses(driver()) -> boolean().
uses(Driver) ->
    uses(Driver, maps:from_list([{Key, ?MODULE:get(Key)}
                                 || Key <- [default_client_driver, client_config_per_node]])).

uses(Driver, #{default_client_driver := Default, client_config_per_node := {internal, PerNode}}) ->
    Default =:= Driver orelse
        lists:any(fun(How) -> How =:= Driver orelse (is_tuple(How) andalso element(1, How) =:= Driver)
                  end, maps:values(PerNode)).

%%% Checks

is_timeout(infinity) -> true;
is_timeout(V) -> is_integer(V) andalso V >= 1 andalso V =< ?MAX_TIMEOUT.

is_port_number(V) -> is_integer(V) andalso V >= 1 andalso V =< 65535.

is_server_port(false) -> true;
is_server_port(0) -> true;
is_server_port(V) -> is_port_number(V).

is_client_config({internal, PerNode}) when is_map(PerNode) ->
    lists:all(fun({Node, How}) -> is_atom(Node) andalso is_target(How) end, maps:to_list(PerNode));
is_client_config(_) ->
    false.

is_target({Driver, Port}) -> is_driver(Driver) andalso is_port_number(Port);
is_target(How) -> is_driver(How) orelse is_port_number(How).

is_concurrency(infinity) -> true;
is_concurrency(V) -> is_integer(V) andalso V >= 1 andalso V =< 16#FFFFFFFF.

is_module_control(V) -> V =:= disabled orelse V =:= whitelist orelse V =:= blacklist.

is_list_of_atoms([Atom | Rest]) -> is_atom(Atom) andalso is_list_of_atoms(Rest);
is_list_of_atoms(V) -> V =:= [].

is_policy(V) -> V =:= block orelse V =:= drop orelse V =:= error.

is_driver(V) -> V =:= tcp orelse V =:= ssl.

is_cookie(undefined) ->
    true;
is_cookie(Cookie) ->
    try byte_size(cookie_bytes(Cookie)) of
        N -> N >= 1 andalso N =< ?MAX_COOKIE
    catch
        error:_ -> false
    end.

cookie_bytes(Cookie) when is_atom(Cookie) -> atom_to_binary(Cookie);
cookie_bytes(Cookie) when is_binary(Cookie) -> Cookie;
cookie_bytes(Cookie) -> <<_/binary>> = unicode:characters_to_binary(Cookie).
